"""The figures that a run from the command line leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vae4counts.inference import plots
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.run.run import Run


def write_figures(run: Run, adata: AnnData, directory: Path, label: str | None) -> list[Path]:
    """Draws what an annotated data set has to show.

    Args:
        run: The run.
        adata: The data, annotated by the run.
        directory: Where the PNG files go.
        label: A column of ``obs`` with known classes.

    Returns:
        The files: ``history.png``, ``latent.png`` for models with latents, ``components.png``
        for mixtures where classes are known, ``diagnosis.png`` for mixtures, ``loadings.png``
        for linear decoders.
    """
    written = []
    written.append(_save(history_figure(run.history), directory / "history.png"))
    colours = [name for name in (label, "component") if name is not None and name in adata.obs]
    if "X_vae" in adata.obsm:
        random = np.random.default_rng(0)
        shown = np.sort(random.permutation(adata.n_obs)[: plots.MOST_POINTS])
        plane, names = plots.two_dimensions(adata.obsm["X_vae"][shown])
        figure = blank_figure(7 * max(1, len(colours)), 5)
        axes = figure.subplots(1, max(1, len(colours)), squeeze=False)[0]
        for ax, colour in zip(axes, colours, strict=False):
            title = f"Latent space by {colour}"
            classes = adata.obs[colour].iloc[shown]
            plots.latent_space(plane, classes, title=title, axis_names=names, ax=ax)
        if not colours:
            everything = ["observation"] * len(shown)
            plots.latent_space(plane, everything, axis_names=names, ax=axes[0])
        written.append(_save(figure, directory / "latent.png"))
    if label is not None and "component" in adata.obs:
        table = by_label(adata.obs[label], adata.obs["component"])
        written.append(_save(components_figure(table), directory / "components.png"))
    if "component_overlap" in run.metrics:
        written.append(_save(diagnosis_figure(run.metrics), directory / "diagnosis.png"))
    loadings = run.loadings()
    if loadings is not None:
        written.append(_save(loadings_figure(loadings), directory / "loadings.png"))
    return written


def history_figure(history: pd.DataFrame) -> Figure:
    """A run's training."""
    figure = blank_figure(7, 4)
    plots.training_history(history, ax=figure.add_subplot())
    return figure


def components_figure(table: pd.DataFrame) -> Figure:
    """Observations, classes x components."""
    figure = blank_figure(4 + 0.5 * table.shape[1], 1.5 + 0.35 * table.shape[0])
    plots.component_heatmap(table, ax=figure.add_subplot())
    return figure


def diagnosis_figure(metrics: dict[str, Any]) -> Figure:
    """A mixture's weights and overlaps, from a fit's metrics."""
    weights, overlaps = metrics["component_weights"], metrics["component_overlap"]
    figure = blank_figure(7 + 0.1 * len(weights), 3)
    left, right = figure.subplots(1, 2)
    plots.component_weights(weights, ax=left)
    plots.component_overlaps(overlaps, ax=right)
    return figure


def loadings_figure(loadings: pd.DataFrame) -> Figure:
    """The features at both ends of each latent of a linear decoder."""
    n = min(2, len(loadings) // 2)
    figure = blank_figure(3.5 + 0.4 * loadings.shape[1], 2 + 0.4 * n * loadings.shape[1])
    plots.top_features_heatmap(
        loadings,
        n=n,
        both_ends=True,
        title="Loadings",
        unit="loading (nats per unit of z)",
        ax=figure.add_subplot(),
    )
    return figure


def blank_figure(width: float, height: float) -> Figure:
    """A figure that belongs to no window, whatever backend the user has chosen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path
