"""The figures of a run: in its directory, and in its report.

A figure is a function of a `Subject` in the table `FIGURES`: it returns the figure, or None where
it does not apply to the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vae4counts.inference import plots
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.plots.style import MOST_ROWS, label_room, plain
from vae4counts.inference.report.subject import Subject
from vae4counts.inference.run import storage

DPI = 150
# Features of each topic that are drawn.
TOPIC_FEATURES = 3


def write_figure(name: str, subject: Subject, path: Path) -> None:
    """Draw one of `FIGURES` into a PNG file; write nothing where it does not apply.

    Args:
        name: Its name.
        subject: A run on data.
        path: The file, which is replaced if it exists.
    """
    figure = FIGURES[name](subject)
    if figure is not None:
        with storage.replace_file(path) as staged:
            figure.savefig(staged, dpi=DPI, format="png")


def history(subject: Subject) -> Figure:
    """Draw the training: the ELBO over the epochs."""
    return history_figure(subject.run.history)


def latent(subject: Subject) -> Figure | None:
    """Draw the latent space, once for the known classes and once for the components."""
    if subject.on.layout is None:
        return None
    plane, names = subject.on.layout
    random = np.random.default_rng(0)
    shown = np.sort(random.permutation(len(plane))[: plots.MOST_POINTS])
    colourings = subject.colourings
    titles = [f"Latent space by {plain(classes.name)}" for classes, _ in colourings]
    if not colourings:
        only = pd.Series("observation", range(len(plane)))
        colourings, titles = [(only, {})], ["Latent space"]
    figure = blank_figure(7 * len(colourings), 5)
    axes = figure.subplots(1, len(colourings), squeeze=False)[0]
    for ax, (classes, colours), title in zip(axes, colourings, titles, strict=True):
        plots.latent_space(
            plane[shown],
            classes.iloc[shown],
            colours=colours,
            title=title,
            axis_names=names,
            ax=ax,
        )
    return figure


def components(subject: Subject) -> Figure | None:
    """Draw the known classes over the components."""
    if subject.classes is None or subject.components is None:
        return None
    return components_figure(by_label(subject.classes, subject.components))


def diagnosis(subject: Subject) -> Figure | None:
    """Draw the weights and overlaps of a mixture's components."""
    metrics = subject.run.metrics
    return diagnosis_figure(metrics) if "component_overlap" in metrics else None


def loadings(subject: Subject) -> Figure | None:
    """Draw the loadings of a linear decoder."""
    loaded = subject.run.loadings()
    return None if loaded is None else loadings_figure(subject.by_table(loaded))


def latent_shares_figure(subject: Subject) -> Figure | None:
    """Draw how much of each table's variation is along each latent, for several tables."""
    if len(subject.run.model.tables) == 1 or subject.run.model.n_latent is None:
        return None
    shares = subject.view.latent_shares()
    figure = blank_figure(3 + 0.9 * shares.shape[1] + label_room(shares), 1.8 + 0.3 * len(shares))
    plots.latent_shares_heatmap(shares, ax=figure.add_subplot())
    return figure


def feature_tree(subject: Subject) -> Figure | None:
    """Draw the tree of features that the model has found."""
    tree = subject.run.model.feature_tree()
    if tree is None:
        return None
    figure = blank_figure(9, 9)
    plots.feature_tree(tree, subject.run.features, ax=figure.add_subplot())
    return figure


def topics(subject: Subject) -> Figure | None:
    """Draw the features of a topic model's topics."""
    if subject.run.model.pure_topics() is None:
        return None
    listed = subject.view.topics(TOPIC_FEATURES)["feature"].drop_duplicates()
    return topics_figure(subject.view.feature_topics().loc[listed])


FIGURES: dict[str, Callable[[Subject], Figure | None]] = {
    "history": history,
    "latent": latent,
    "components": components,
    "diagnosis": diagnosis,
    "loadings": loadings,
    "modalities": latent_shares_figure,
    "feature-tree": feature_tree,
    "topics": topics,
}


def history_figure(history: pd.DataFrame) -> Figure:
    """Draw a run's history."""
    figure = blank_figure(7, 4)
    plots.training_history(history, ax=figure.add_subplot())
    return figure


def components_figure(table: pd.DataFrame) -> Figure:
    """Draw numbers of observations, classes x components."""
    rows, columns = (min(n, MOST_ROWS) for n in table.shape)
    figure = blank_figure(4 + 0.5 * columns + label_room(table), 1.5 + 0.35 * rows)
    plots.component_heatmap(table, ax=figure.add_subplot())
    return figure


def diagnosis_figure(metrics: dict[str, Any]) -> Figure:
    """Draw a mixture's weights, overlaps and stability, from a fit's metrics."""
    bars = {
        "component_weights": plots.component_weights,
        "component_overlap": plots.component_overlaps,
        "component_stability": plots.component_stability,
    }
    known = [name for name in bars if name in metrics]  # fits before 0.3 have no stability
    width = 3.5 + 0.05 * len(metrics["component_weights"])
    figure = blank_figure(min(len(known) * width, 20), 3)
    for name, ax in zip(known, figure.subplots(1, len(known)), strict=True):
        bars[name](metrics[name], ax=ax)
    return figure


def loadings_figure(loadings: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the features at both ends of each latent of a linear decoder, table by table."""
    return _top_features_figure(
        loadings, n=2, both_ends=True, title="Loadings", unit="loading (per unit of z)"
    )


def contrasts_figure(contrasts: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the features that each component raises most, table by table."""
    title = "Top features of each component"
    return _top_features_figure(contrasts, n=3, title=title, unit="log2 fold change")


def _top_features_figure(
    parts: Mapping[str, pd.DataFrame], *, n: int, title: str, unit: str, both_ends: bool = False
) -> Figure:
    """Draw a heat map for each table, one below the other, so that none hides another."""
    ends = 1 + both_ends
    columns = min(next(iter(parts.values())).shape[1], MOST_ROWS)
    shown = {name: max(1, min(n, len(part) // ends)) for name, part in parts.items()}
    heights = [
        1.5 + 0.19 * min(ends * shown[name] * columns, len(part)) for name, part in parts.items()
    ]
    width = 3.5 + 0.4 * columns + max(map(label_room, parts.values()))
    figure = blank_figure(width, sum(heights))
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        plots.top_features_heatmap(
            part,
            n=shown[name],
            both_ends=both_ends,
            title=title if len(parts) == 1 else f"{title}: {name}",
            unit=unit,
            ax=ax,
        )
    return figure


def topics_figure(table: pd.DataFrame) -> Figure:
    """Draw from which topics the counts of some features come, features x topics."""
    columns = min(table.shape[1], MOST_ROWS)
    figure = blank_figure(3 + 0.35 * columns + label_room(table), 1.5 + 0.19 * len(table))
    plots.topic_heatmap(table, ax=figure.add_subplot())
    return figure


def blank_figure(width: float, height: float) -> Figure:
    """Return a figure that belongs to no window, whatever backend the user has chosen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
