"""The figures of a run: in its directory, and in its report.

A figure is a function of a `Subject` in the table `FIGURES`: it returns the figure, or None where
it does not apply to the run.
"""

from __future__ import annotations

from collections.abc import Callable
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
    latents = subject.latents
    if latents is None:
        return None
    random = np.random.default_rng(0)
    shown = np.sort(random.permutation(len(latents))[: plots.MOST_POINTS])
    plane, names = plots.two_dimensions(latents[shown])
    colourings = [each for each in (subject.classes, subject.components) if each is not None]
    titles = [f"Latent space by {plain(classes.name)}" for classes in colourings]
    if not colourings:
        colourings, titles = [pd.Series("observation", range(len(latents)))], ["Latent space"]
    figure = blank_figure(7 * len(colourings), 5)
    axes = figure.subplots(1, len(colourings), squeeze=False)[0]
    for ax, classes, title in zip(axes, colourings, titles, strict=True):
        plots.latent_space(plane, classes.iloc[shown], title=title, axis_names=names, ax=ax)
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
    return None if loaded is None else loadings_figure(loaded)


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


def loadings_figure(loadings: pd.DataFrame) -> Figure:
    """Draw the features at both ends of each latent of a linear decoder."""
    n = max(1, min(2, len(loadings) // 2))
    columns = min(loadings.shape[1], MOST_ROWS)
    room = label_room(loadings)
    figure = blank_figure(3.5 + 0.4 * columns + room, 2 + 0.4 * n * columns)
    plots.top_features_heatmap(
        loadings,
        n=n,
        both_ends=True,
        title="Loadings",
        unit="loading (nats per unit of z)",
        ax=figure.add_subplot(),
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
