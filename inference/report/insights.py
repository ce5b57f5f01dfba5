"""Sections that look inside the model: latents, components, loadings, predictive checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from vae4counts.inference import plots
from vae4counts.inference.interpretation import NotInModelError, strongest_features
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.plots import checks as check_plots
from vae4counts.inference.posterior.draws import require_counts
from vae4counts.inference.report.elements import facts, figure, paragraph, table
from vae4counts.inference.report.figures import (
    blank_figure,
    components_figure,
    diagnosis_figure,
    loadings_figure,
)
from vae4counts.inference.report.scatter import scatter
from vae4counts.inference.report.subject import Section, Subject
from vae4counts.inference.run.metric_names import METRICS

MOST_POINTS = 10_000
REPLICATES = 100
TOP = 6


def latent_space(subject: Subject) -> Section | None:
    """Observations by their latents, to point at."""
    latents = subject.latents
    if latents is None:
        return None
    n = len(latents)
    random = np.random.default_rng(subject.seed)
    chosen = np.sort(random.permutation(n)[:MOST_POINTS])
    plane, axis_names = plots.two_dimensions(latents[chosen], subject.seed)
    colourings = [s.iloc[chosen] for s in (subject.classes, subject.components) if s is not None]
    some = f"{len(chosen):,} of {n:,} observations, chosen at random," if n > MOST_POINTS else ""
    what = f"{some or f'{n:,} observations'} by the mean of their latents"
    drawn = scatter(
        plane,
        axis_names,
        subject.adata.obs_names[chosen],
        colourings,
        f"{what}, {latents.shape[1]} in number, laid out in the plane.",
    )
    words = (
        "Observations whose counts the model takes for alike are close to each other. The plane "
        "keeps neighbours together; distances between far groups mean little."
    )
    spread = subject.view.latent_table().rename(
        columns={"sd_between": "sd between", "sd_within": "sd within"}
    )
    explained = (
        "A latent that tells observations apart varies more between them ('sd between') than its "
        "posterior is wide ('sd within'); one with hardly any spread between is not in use."
    )
    parts = [paragraph(words), drawn, paragraph(explained), table(spread, "Spread of each latent")]
    return Section("Latent space", parts)


def components(subject: Subject) -> Section | None:
    """The mixture's components, and what is typical of them."""
    if subject.components is None:
        return None
    described = subject.component_table
    body = [
        paragraph(
            "Each observation belongs to the component that is most likely to have made it. The "
            "entropy (nats) is 0 where the model has no doubt. The features of a component are "
            "those that are up most in it against the others, with their log2 fold change."
        )
    ]
    try:
        contrasts = subject.view.component_contrasts()
    except NotInModelError:  # one component alone, or none of counts
        contrasts = None
    if contrasts is not None:
        # first, so that they are in sight on a phone
        described.insert(0, "features", _listed(contrasts, positive=True))
    body.append(table(described, "Components"))
    if subject.classes is not None:
        shares = by_label(subject.classes, subject.components)
        caption = f"The classes of '{subject.label}' over the components: numbers of observations."
        alt = f"Heat map of {len(shares)} classes by {shares.shape[1]} components"
        body.append(figure(components_figure(shares), f"{alt}. {_main(shares)}", caption))
    if contrasts is not None:
        drawn = blank_figure(3.5 + 0.4 * contrasts.shape[1], 2 + 0.5 * contrasts.shape[1])
        plots.top_features_heatmap(contrasts, n=3, ax=drawn.add_subplot())
        caption = "The three top features of each component, in all components."
        body.append(figure(drawn, "Heat map of the top features listed in the table.", caption))
    return Section("Components", body)


def diagnosis(subject: Subject) -> Section | None:
    """Whether the mixture is in use."""
    metrics = subject.metrics
    used, perplexity = metrics.get("components_used"), metrics.get("component_perplexity")
    if used is None or perplexity is None:
        return None
    described = subject.component_table
    words = (
        f"{used} of {len(described)} components hold more than 1 % of the measured observations. "
        f"They are as many as {perplexity:.1f} of equal size (the perplexity)."
    )
    if warning := metrics.get("component_warning"):
        words += f" At the end of the fit, {warning}."
    names = ("components_used", "component_perplexity", "nats_over_one_gaussian", "ari", "nmi")
    measured = {METRICS[name]: metrics[name] for name in names if metrics.get(name) is not None}
    body = [paragraph(words), facts(measured, "The mixture")]
    if "component_overlap" in metrics:
        drawn = diagnosis_figure(metrics)
        caption = (
            "Each component's weight and its overlap with the component nearest to it: 0 for "
            "components that lie apart, 1 for two that are the same."
        )
        body.append(figure(drawn, "Two bar charts, a bar for each component.", caption))
    return Section("Diagnosis of the mixture", body)


def loadings(subject: Subject) -> Section | None:
    """The loadings of a linear decoder."""
    loaded = subject.run.loadings()
    if loaded is None:
        return None
    rotation = (
        "The prior is the same after any rotation of the latents, and so is the model: read the "
        "loadings as a subspace rather than axis by axis, or rotate them (varimax)."
        if subject.run.model.rotation_invariant
        else "The prior is not the same after a rotation of the latents, and its axes mean more "
        "than those of factors that may be rotated at will."
    )
    words = (
        "The decoder is linear: a loading is the change of a feature's log-rate (nats) for one "
        "unit of a latent. Loadings are point estimates. " + rotation
    )
    drawn = figure(
        loadings_figure(loaded),
        "Heat map of the features with the largest and smallest loadings, listed in the table.",
        "Features at both ends of each latent.",
    )
    return Section(
        "Loadings", [paragraph(words), _two_ends(loaded, "Loadings at both ends"), drawn]
    )


def directions(subject: Subject) -> Section | None:
    """What each latent does, for decoders that are not linear."""
    if subject.latents is None or subject.run.loadings() is not None:
        return None
    try:
        effects = subject.view.latent_effects()
    except NotInModelError:
        return None
    words = (
        "How each latent changes the features: the log2 fold change of their rates from one "
        "standard deviation of the latent below to one above, averaged over the data."
    )
    return Section(
        "What the latents do", [paragraph(words), _two_ends(effects, "Features that change most")]
    )


def checks(subject: Subject) -> Section | None:
    """Predictive checks."""
    try:
        require_counts(subject.run.model)
    except ValueError:
        return None
    found = subject.run.check(subject.adata, REPLICATES, seed=subject.seed)
    words = (
        f"The model made {REPLICATES} data sets of its own, of the size of the measured data. The "
        "discrepancy tells how far features are off what it makes, about 1 for a true model; the "
        "p-value is the share of data sets that are off as far. No model is true: see where it "
        "fails, and by how much. With an observed library size, which the data add up to and the "
        "model's data sets only nearly do, p-values are approximate."
    )
    drawn = []
    for draw in check_plots.FIGURES.values():
        shown = blank_figure(6, 4.5)
        ax = draw(found, ax=shown.add_subplot())
        what = (draw.__doc__ or "").partition("\n")[0].removeprefix("Draws ")
        what = what[:1].upper() + what[1:]
        drawn.append(figure(shown, f"{what} {ax.get_title()}.", what))
    pictures = Markup('<div class="pictures">{}</div>').format(Markup().join(drawn))
    renamed = found.table.rename(columns={"p_value": "p-value"})
    return Section(
        "Predictive checks", [paragraph(words), table(renamed, "Data and replicates"), pictures]
    )


def _two_ends(values: pd.DataFrame, caption: str) -> Markup:
    """The features at either end of each column."""
    ends = pd.DataFrame(
        {"up": _listed(values, positive=True), "down": _listed(values, positive=False)}
    )
    return table(ends.rename_axis(values.columns.name), caption)


def _listed(values: pd.DataFrame, *, positive: bool) -> pd.Series:
    """The features that are largest in each column, or smallest, as text."""
    what = values.columns.name
    top = strongest_features(values if positive else -values, TOP)
    top = top[top["value"] > 0]
    sign = 1 if positive else -1
    texts = top["feature"].astype(str) + [f" ({sign * value:+.1f})" for value in top["value"]]
    return (
        texts.groupby(top[what].astype(str)).agg(", ".join).reindex(values.columns, fill_value="-")
    )


def _main(shares: pd.DataFrame) -> str:
    """The main component of each class, in words."""
    main = shares.idxmax(axis=1)
    return "; ".join(f"{name} mostly in {component}" for name, component in main.items()) + "."
