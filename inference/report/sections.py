"""What the page shows of data, training and results: one function for each section.

Each takes a `Subject` and returns its `Section`, or None where it does not apply to the run.
The sections that look inside the model are in `insights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup
from torch import nn

from vae4counts.data import CountLoader, Member, Tables
from vae4counts.inference.report import insights
from vae4counts.inference.report.covariates import covariates
from vae4counts.inference.report.elements import code, facts, figure, paragraph, shown, table
from vae4counts.inference.report.figures import history_figure
from vae4counts.inference.report.modalities import modalities
from vae4counts.inference.report.reproduce import python_lines, versions
from vae4counts.inference.report.subject import Section, Subject
from vae4counts.inference.report.topics import topics
from vae4counts.inference.report.verdict import verdict
from vae4counts.inference.run.metric_names import METRICS, measured
from vae4counts.models import Configured, Model

FURTHER = {
    "n_train": "training observations",
    "n_test": "held-out observations",
    "n_validation": "validation observations",
    "label_note": "why there are no ARI and NMI",
    "n_features": "features",
    "elbo_parts": "its parts, by sample site",
    "iw_samples": "draws for each observation",
}


def data(subject: Subject) -> Section:
    """Describe the data."""
    counts, run = subject.on.counts, subject.run
    words = []
    for name, member in counts.members.items():
        of = "" if len(counts.members) == 1 else f" in {name}"
        words.append(
            f"{len(member):,} observations of {member.n_features:,} features{of}{_totals(member)}."
        )
    if isinstance(counts, Tables) and len(counts.members) > 1:
        every = int(torch.stack(list(counts.present.values())).all(0).sum())
        words.append(f"Of {len(counts):,} observations, {every:,} have all of these tables.")
    if subject.on.layer is not None:
        words.append(f"The counts are in the layer '{subject.on.layer}'.")
    if subject.classes is not None:
        words.append(
            f"The column '{subject.classes.name}' holds {subject.classes.nunique():,} known "
            "classes. They are not used in training, only compared with what it found."
        )
        if without := int(subject.classes.isna().sum()):
            words.append(f"{without:,} observations have no class, and count in no comparison.")
    split = run.split
    if subject.on.is_fitted:
        words.append(
            f"Of the observations, {len(split.train):,} were used for training, "
            f"{len(split.validation):,} to decide when to stop, and {len(split.test):,} were "
            "held out to evaluate the model."
        )
    else:
        words.append("The model was fitted to other data, and is evaluated on all of these.")
    return Section("Data", [paragraph(text) for text in words])


def _totals(member: Member) -> str:
    """Say how many counts are zero, and between which totals most observations lie."""
    if not member.libraries or not len(member):
        return ""
    batches = CountLoader(member, batch_size=1024, shuffle=False)
    non_zeros = sum(batch.counts.values().numel() for batch in batches)
    zeros = 1 - non_zeros / (len(member) * member.n_features)
    low, middle, high = np.quantile(member.library.cpu().numpy(), (0.05, 0.5, 0.95))
    return (
        f"; {zeros:.1%} of the counts are zero. Nine observations in ten have a total count "
        f"between {low:,.0f} and {high:,.0f}; the median is {middle:,.0f}"
    )


def model(subject: Subject) -> Section:
    """Describe the pair: each of its parts by its own docstring."""
    run = subject.run
    rows = [
        ("model", run.model),
        *_parts(run.model),
        ("guide", run.guide),
        *((f"guide's {name}", part) for name, part in run.guide.named_children()),
    ]
    table_of_parts = pd.DataFrame(
        [(type(part).__name__, _in_words(part), _settings(part)) for _, part in rows],
        index=pd.Index([name for name, _ in rows], name="part"),
        columns=["class", "what it is", "settings"],
    )
    words = (
        "The model describes how the data arise: latent variables are drawn, and then counts given "
        "the latent variables. The guide goes the other way: it infers the latent variables from "
        "an observation's counts. Both are trained together by stochastic variational inference "
        "(SVI)."
    )
    return Section("Model", [paragraph(words), table(table_of_parts, "Parts of the pair")])


def training(subject: Subject) -> Section:
    """Describe the training."""
    run = subject.run
    history = run.history
    last = history[history["phase"] == history["phase"].iloc[-1]]
    full = last[last["kl_weight"] == last["kl_weight"].max()]  # the best of these was kept
    best = full["validation_elbo"].idxmax()
    row = history.loc[best]
    divergence = row["validation_reconstruction"] - row["validation_elbo"]
    kept = {
        "epoch": int(best) + 1,
        "KL weight in training": row["kl_weight"],
        "ELBO, training (KL warmed up)": row["train_elbo"],
        "ELBO, validation": row["validation_elbo"],
        "its reconstruction": row["validation_reconstruction"],
        "its Kullback-Leibler divergence": divergence,
    }
    words = f"{len(history):,} epochs, {history['seconds'].sum():,.1f} seconds."
    if "plain" in set(history["phase"]):
        words += (
            " A plain VAE was trained first; the components were then initialised from clusters of "
            "its latents, and everything was trained together."
        )
    drawn = figure(
        history_figure(history),
        f"Line chart of the ELBO and its reconstruction over {len(history)} epochs; the validation "
        f"ELBO is highest in epoch {int(best) + 1}, at {row['validation_elbo']:.1f} nats.",
        "The ELBO over the epochs. The band between the two lines is the Kullback-Leibler "
        "divergence of the latents from their prior: how much the latents know about an "
        "observation.",
    )
    return Section(
        "Training",
        [paragraph(words), drawn, facts(kept, "The epoch that was kept (nats per observation)")],
    )


def held_out(subject: Subject) -> Section:
    """List all metrics."""
    metrics = subject.metrics
    where = "held-out observations" if subject.on.is_fitted else "these data"
    named = {
        FURTHER.get(name) or METRICS.get(name) or name.replace("_", " "): value
        for name, value in measured(metrics).items()
        if name != "n"
    }
    words = "The log-likelihood of the counts is exact. All values are means per observation."
    if metrics.get("log_likelihood") is None:
        words = (
            "The importance-weighted log-likelihood lies between the ELBO and the log-likelihood "
            "of the counts, and approaches the latter with more draws: use it to compare models. "
            "All values are means per observation."
        )
    return Section("Metrics", [paragraph(words), facts(named, f"Measured on {where}")])


def provenance(subject: Subject) -> Section:
    """List versions, seeds and settings."""
    run = subject.run
    settings = {name.replace("_", " "): value for name, value in run.settings.items()}
    seeds = {"seed of the fit": run.settings.get("seed"), "seed of this page": subject.on.seed}
    digest = {"digest of the fitted data (names and counts)": run.fingerprint}
    return Section(
        "Versions and seeds",
        [
            facts(versions(), "Versions with which this page was made"),
            facts(seeds | digest, "Seeds and data"),
            facts(settings, "Settings of the fit"),
        ],
    )


def reproduce(subject: Subject) -> Section:
    """Give the lines that fit the run again."""
    run, body = subject.run, []
    command = run.settings.get("command")
    if command is not None:
        body.append(code(command, "On the command line"))
    try:
        body.append(code(python_lines(run), "In Python"))
    except TypeError as error:  # a part of the user's own
        body.append(paragraph(f"The pair cannot be written as Python: {error}."))
    words = "The same versions on the same kind of processor give the same numbers."
    return Section("How to reproduce", [paragraph(words), *body])


SECTIONS: dict[str, Callable[[Subject], Section | None]] = {
    "verdict": verdict,
    "latent-space": insights.latent_space,
    "components": insights.components,
    "checks": insights.checks,
    "loadings": insights.loadings,
    "topics": topics,
    "directions": insights.directions,
    "feature-tree": insights.feature_tree,
    "modalities": modalities,
    "covariates": covariates,
    "diagnosis": insights.diagnosis,
    "posteriors": insights.posteriors,
    "held-out": held_out,
    "training": training,
    "data": data,
    "model": model,
    "provenance": provenance,
    "reproduce": reproduce,
}


def _parts(of: Model) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a model, and those of each of its tables; no covariates where there are none."""
    for name, part in of.named_children():
        if isinstance(part, nn.ModuleDict):
            for table_name, each in part.items():
                yield from ((f"{table_name}: {own}", it) for own, it in each.named_children())
        elif part is not of.covariates or of.covariates:
            yield name, part


def _in_words(part: nn.Module) -> str:
    """The first line of a class's docstring."""
    return (type(part).__doc__ or "").strip().partition("\n")[0].replace("`", "")


def _settings(part: nn.Module) -> Markup:
    """The arguments that a part was made with, except those that are parts themselves."""
    return Markup("<br>").join(
        Markup("{}: {}").format(name, shown(value)) for name, value in _arguments(part)
    )


def _arguments(part: nn.Module) -> Iterator[tuple[str, object]]:
    if not isinstance(part, Configured):
        return
    try:
        described = part.config()
    except TypeError:  # a part of the user's own that cannot describe itself
        return
    for name, value in described.items():
        if name != "type" and value is not None and not isinstance(value, dict):
            yield name.replace("_", " "), value
