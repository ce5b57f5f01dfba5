"""Sections that look inside the model: latents, components, loadings, predictive checks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup

from vae4counts.inference import plots
from vae4counts.inference.interpretation import NotInModelError, strongest_features
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.interpretation.how_many import FEWEST
from vae4counts.inference.plots import checks as check_plots
from vae4counts.inference.plots.style import largest_rows
from vae4counts.inference.posterior.importance import HIGH_K
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks
from vae4counts.inference.posterior.tables import count_tables
from vae4counts.inference.report.elements import facts, figure, paragraph, table
from vae4counts.inference.report.figures import (
    blank_figure,
    components_figure,
    contrasts_figure,
    diagnosis_figure,
    loadings_figure,
)
from vae4counts.inference.report.figures import feature_tree as feature_tree_figure
from vae4counts.inference.report.scatter import scatter
from vae4counts.inference.report.subject import REPLICATES, Section, Subject
from vae4counts.inference.run.metric_names import METRICS

MOST_POINTS = 10_000
# Observations whose posteriors are refined for the page.
MOST_REFINED = 200
TOP = 6
# Links of a tree of features that are listed.
CLOSEST = 20
WORDS = {"nats_se": "standard error", "mean_stability": "mean stability"}
# A standard deviation below this is rounding.
NOTHING = 1e-3


def posteriors(subject: Subject) -> Section | None:
    """Tell how far draws from the posteriors can be trusted, by the guide and refined."""
    on = subject.on
    if subject.run.model.is_exact:
        return None
    rows = np.random.default_rng(on.seed).permutation(on.held_out)[:MOST_REFINED]
    found = {
        kind: on.posterior_quality(np.sort(rows), refine=refine)
        for kind, refine in (("by the guide", False), ("refined", True))
    }
    shapes = {kind: quality["pareto_k"] for kind, quality in found.items()}
    summary = pd.DataFrame(
        {
            "median Pareto k": {kind: k.median() for kind, k in shapes.items()},
            "share above 0.7": {kind: (k > HIGH_K).mean() for kind, k in shapes.items()},
            "draws that count": {
                kind: quality["effective_draws"].median() for kind, quality in found.items()
            },
        }
    ).rename_axis("posteriors")
    words = (
        "The guide is one network for all observations, and errs. Refinement gives each "
        "observation a posterior of its own, with the model as it is. The shape k of the tail of "
        "the importance weights (Pareto k) tells how far draws can be trusted: above 0.7 they "
        "cannot, nor can what rests on them. If that is so by the guide and not refined, use "
        "refine=True, or --refine on the command line; if it is so refined as well, use chains "
        '(method="hmc").'
    )
    drawn = blank_figure(6, 3)
    plots.pareto_shapes(shapes, ax=drawn.add_subplot())
    what = "How many observations have which Pareto k"
    caption = f"{len(rows):,} evaluated observations, chosen at random; 500 draws each"
    body = [paragraph(words), table(summary, caption), figure(drawn, f"{what}: histogram.", what)]
    return Section("Can the posteriors be trusted?", body)


def latent_space(subject: Subject) -> Section | None:
    """Show the observations by their latents, to point at."""
    latents = subject.latents
    if latents is None or subject.on.layout is None:
        return None
    n = len(latents)
    random = np.random.default_rng(subject.on.seed)
    chosen = np.sort(random.permutation(n)[:MOST_POINTS])
    plane, axis_names = subject.on.layout
    some = f"{len(chosen):,} of {n:,} observations, chosen at random," if n > MOST_POINTS else ""
    what = f"{some or f'{n:,} observations'} by the means of their latents"
    drawn = scatter(
        plane[chosen],
        axis_names,
        subject.on.adata.obs_names[chosen],
        [
            (classes.iloc[chosen], colours)
            for classes, colours in (*subject.colourings, *subject.further_colourings)
        ],
        f"{what} ({latents.shape[1]} dimensions), laid out in the plane.",
    )
    words = (
        "Observations that are similar to the model are close to each other. The layout keeps "
        "neighbours together; distances between remote groups mean little."
    )
    spread = subject.view.latent_table().rename(
        columns={"sd_between": "sd between", "sd_within": "sd within"}
    )
    explained = (
        "A latent that distinguishes observations varies more between them ('sd between') than "
        "its posterior is wide ('sd within'); one that hardly varies between them is not in use."
    )
    listed = table(spread.round(3), "Spread of each latent")
    parts = [paragraph(words), drawn, paragraph(explained), listed]
    return Section("Latent space", parts)


def feature_tree(subject: Subject) -> Section | None:
    """Show the tree of features that the model has found."""
    drawn = feature_tree_figure(subject)
    if drawn is None:
        return None
    links = subject.view.feature_links().head(CLOSEST).set_index("node")
    words = (
        "The model has found which features go together, as a tree: given the nodes that it is "
        "linked to, a node tells nothing more of the others. The wider a link, the more its two "
        "ends tell of each other."
    )
    what = "Features and the links between them"
    body = [
        paragraph(words),
        figure(drawn, f"{what}, drawn from the middle outwards.", what),
        table(links, "The closest links: mutual information in nats"),
    ]
    return Section("Tree of features", body)


def components(subject: Subject) -> Section | None:
    """Describe the mixture's components: their sizes, their features, their classes."""
    if subject.components is None:
        return None
    described = subject.component_table.round(3)
    body = [
        paragraph(
            "Each observation belongs to its most probable component. The entropy (nats) is 0 "
            "where the model has no doubt. The features listed for a component are those with the "
            "largest log2 fold changes against the other components, ± their standard deviation "
            "within the component."
        )
    ]
    try:
        contrasts, spreads = subject.view.component_contrasts(), subject.view.component_spreads()
    except NotInModelError:  # a single component, or a model without rates
        contrasts = None
    if contrasts is not None:
        # first, so that they are visible on a phone
        varying = subject.by_table(spreads)
        for i, (modality, part) in enumerate(subject.by_table(contrasts).items()):
            of = "features" if len(subject.run.model.tables) == 1 else f"features of {modality}"
            described.insert(i, of, _listed(part, positive=True, spreads=varying[modality]))
    body.append(table(described, "Components"))
    if subject.classes is not None:
        shares = largest_rows(by_label(subject.classes, subject.components))
        name = subject.classes.name
        caption = f"The classes of '{name}' by component, in numbers of observations that have one."
        alt = f"Heat map of {len(shares)} classes by {shares.shape[1]} components"
        body.append(figure(components_figure(shares), f"{alt}. {_main(shares)}", caption))
    if contrasts is not None:
        drawn = contrasts_figure(subject.by_table(contrasts))
        caption = "The top three features of each component, in all components."
        body.append(figure(drawn, "Heat map of the top features listed in the table.", caption))
    return Section("Components", body)


def diagnosis(subject: Subject) -> Section | None:
    """Tell whether the mixture is in use."""
    metrics = subject.metrics
    used, perplexity = metrics.get("components_used"), metrics.get("component_perplexity")
    if used is None or perplexity is None:
        return None
    n = len(subject.component_table)
    words = (
        f"{used} of {n} components hold more than 1 % of the evaluated observations each. Their "
        f"perplexity is {perplexity:.1f}: they are as diverse as that many of equal size."
    )
    if warning := metrics.get("component_warning"):
        words += f" At the end of the fit, {warning}."
    names = ("components_used", "component_perplexity", "nats_over_one_gaussian", "ari", "nmi")
    measured = {METRICS[name]: metrics[name] for name in names if metrics.get(name) is not None}
    body = [paragraph(words), facts(measured, "The mixture")]
    if "component_overlap" in metrics:
        drawn = diagnosis_figure(metrics)
        caption = (
            "Each component's weight; its overlap with the component nearest to it: 0 for "
            "separate components, 1 for identical ones; and how well it is found again in "
            "resampled latents: 1 for a component that every sample finds, below about 0.6 for one "
            "that is a matter of chance."
        )
        body.append(figure(drawn, "Bar charts with a bar for each component.", caption))
    if subject.run.model.n_latent is not None and len(subject.on.counts) >= FEWEST:
        groups = subject.view.how_many_groups()
        shown = blank_figure(6, 3.5)
        plots.how_many_groups(groups, ax=shown.add_subplot())
        caption = (
            "What speaks for each number of groups: the ELBO over that of a single one, how stable "
            "the groups are in resampled latents, and how much the two nearest overlap. Look for "
            "the number from which on the first hardly grows."
        )
        body += [
            figure(shown, "Line chart of the table that follows.", caption),
            table(groups.round(3).rename(columns=WORDS), "How many groups?"),
        ]
    return Section("Diagnosis of the mixture", body)


def loadings(subject: Subject) -> Section | None:
    """List the loadings of a linear decoder."""
    loaded = subject.run.loadings()
    if loaded is None:
        return None
    rotation = (
        "The prior is the same after any rotation of the latents, and so is the model: interpret "
        "the subspace rather than single axes, or rotate the loadings (varimax)."
        if subject.run.model.rotation_invariant
        else "The prior changes under rotations of the latents, so that single axes mean more than "
        "in factor analysis."
    )
    words = (
        "The decoder is linear: a loading is the change of a feature's log-rate (nats) per unit "
        "of a latent. Loadings are point estimates. " + rotation
    )
    parts = subject.by_table(loaded)
    drawn = figure(
        loadings_figure(parts),
        "Heat map of the features with the largest and smallest loadings, listed in the table.",
        "Features at both ends of each latent.",
    )
    return Section(
        "Loadings", [paragraph(words), *_two_ends(parts, "Loadings at both ends"), drawn]
    )


def directions(subject: Subject) -> Section | None:
    """Tell what each latent does, where no table of loadings or topics does so."""
    model = subject.run.model
    if subject.latents is None or model.loadings() is not None or model.pure_topics() is not None:
        return None
    effects = subject.view.latent_effects()
    words = (
        "The effect of each latent on the features: the log2 fold change of their rates from one "
        "standard deviation below to one above the latent's mean, averaged over the data."
    )
    return Section(
        "What the latents do",
        [paragraph(words), *_two_ends(subject.by_table(effects), "Features that change most")],
    )


def checks(subject: Subject) -> Section | None:
    """Compare the data with replicates that the model draws."""
    if not count_tables(subject.run.model):
        return None
    words = (
        f"The model drew {REPLICATES} replicates of the evaluated data. The discrepancy measures "
        "how far the features are from the replicates, and is about 1 for a true model; the "
        "p-value is the share of replicates that are as far from the others, and cannot be less "
        f"than 1/{REPLICATES}. No model is true: look at where it fails, and by how much. Where "
        "the library size is observed, p-values are approximate: the data add up to it exactly, "
        "and the replicates only nearly."
    )
    checked = subject.checks.items()
    shown = [part for name, found in checked for part in _check(subject, name, found)]
    return Section("Predictive checks", [paragraph(words), *shown])


def _check(subject: Subject, name: str, found: PredictiveChecks) -> list[Markup]:
    """Show how one table compares with replicates."""
    of = "" if len(subject.run.model.tables) == 1 else f" of {name}"
    drawn = []
    for draw in check_plots.FIGURES.values():
        shown = blank_figure(6, 4.5)
        ax = draw(found, ax=shown.add_subplot())
        what = (draw.__doc__ or "").partition("\n")[0].removeprefix("Draw ")
        what = what[:1].upper() + what[1:]
        drawn.append(figure(shown, f"{what} {ax.get_title()}.", what))
    pictures = Markup('<div class="pictures">{}</div>').format(Markup().join(drawn))
    listed = found.table.drop(columns="p_value")
    listed["p-value"] = [found.p_value_text(check).removeprefix("p = ") for check in listed.index]
    return [table(listed, f"Data and replicates{of}"), pictures]


def _two_ends(parts: Mapping[str, pd.DataFrame], caption: str) -> list[Markup]:
    """A table of the features at both ends of each column, for each modality."""
    found = []
    for name, values in parts.items():
        ends = pd.DataFrame(
            {"up": _listed(values, positive=True), "down": _listed(values, positive=False)}
        )
        of = "" if len(parts) == 1 else f": {name}"
        found.append(table(ends.rename_axis(values.columns.name), f"{caption}{of}"))
    return found


def _listed(
    values: pd.DataFrame, *, positive: bool, spreads: pd.DataFrame | None = None
) -> pd.Series:
    """The features with the largest values of each column, or the smallest, as text.

    Args:
        values: Features x columns.
        positive: Whether to list the largest.
        spreads: By how much each value varies, of the same shape.
    """
    what = values.columns.name
    top = strongest_features(values if positive else -values, TOP)
    top = top[top["value"] > 0]
    sign = 1 if positive else -1
    numbers = [f"{sign * value:+.1f}" for value in top["value"]]
    if spreads is not None and spreads.to_numpy().max() > NOTHING:  # as without latents
        known = spreads[~spreads.index.duplicated()]
        places = zip(top["feature"], top[what], strict=True)
        numbers = [
            f"{number}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{known.loc[place]:.1f}"
            for number, place in zip(numbers, places, strict=True)
        ]
    texts = top["feature"].astype(str) + [f" ({number})" for number in numbers]
    return (
        texts.groupby(top[what].astype(str)).agg(", ".join).reindex(values.columns, fill_value="-")
    )


def _main(shares: pd.DataFrame) -> str:
    """The main component of each class, in words."""
    main = shares.idxmax(axis=1)
    return "; ".join(f"{name} mostly in {component}" for name, component in main.items()) + "."
