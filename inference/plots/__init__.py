"""Figures: one function a figure, drawn on given axes and returned."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

# Okabe & Ito's palette, told apart by colour-blind readers; markers tell further classes apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
# More points than this only make a figure slower to draw and harder to read.
MOST_POINTS = 5000


def two_dimensions(latents: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """Lays latents out in the plane by UMAP (McInnes et al. 2018).

    Args:
        latents: Shape ``(n, L)``.
        seed: Seed of the layout.

    Returns:
        Coordinates of shape ``(n, 2)`` and a name for them. Latents of one or two dimensions, or
        of few observations, are taken as they are.
    """
    if latents.shape[1] <= 2 or len(latents) < 20:
        return np.pad(latents, ((0, 0), (0, 1)))[:, :2], "latent"
    from umap import UMAP  # it takes seconds to import

    return UMAP(random_state=seed, n_jobs=1).fit_transform(latents), "UMAP"


def latent_space(
    plane: np.ndarray,
    classes: pd.Series,
    *,
    title: str,
    axis: str = "UMAP",
    ax: Axes | None = None,
) -> Axes:
    """Draws observations in the plane, coloured by class.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        classes: The class of each observation.
        title: What the classes are.
        axis: What the two axes are.
        ax: Where to draw; new axes if None.
    """
    ax = _axes(ax)
    categories = pd.Categorical(classes.astype(str))
    for i, category in enumerate(categories.categories):
        chosen = plane[categories.codes == i]
        ax.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=10,
            linewidths=0,
            alpha=0.8,
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i // len(PALETTE) % len(MARKERS)],
            label=category,
        )
    ax.set(title=title, xticks=[], yticks=[], xlabel=f"{axis} 1", ylabel=f"{axis} 2")
    if len(categories.categories) <= 24:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=1.6)
    return ax


def component_heatmap(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how each class spreads over the components.

    Args:
        table: Numbers of observations, classes x components.
        ax: Where to draw; new axes if None.
    """
    ax = _axes(ax)
    share = table.div(table.sum(axis=1), axis=0)
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (i, j), count in np.ndenumerate(table.to_numpy()):
        if count:
            colour = "black" if share.iloc[i, j] > 0.5 else "white"
            ax.text(j, i, count, ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(range(table.shape[1]), table.columns)
    ax.set_yticks(range(table.shape[0]), table.index)
    ax.set(xlabel="component", title="Observations of each class, by component")
    ax.figure.colorbar(image, ax=ax, label="share of the class")
    return ax


def training_history(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the training and validation ELBO over the epochs.

    Args:
        history: A run's history.
        ax: Where to draw; new axes if None.
    """
    ax = _axes(ax)
    epochs = np.arange(1, len(history) + 1)
    ax.plot(epochs, history["train_elbo"], color=PALETTE[0], label="training (KL warmed up)")
    ax.plot(epochs, history["validation_elbo"], color=PALETTE[5], label="validation")
    starts = np.flatnonzero(history["phase"].ne(history["phase"].shift()))[1:]
    for start in starts:
        ax.axvline(start + 0.5, color="grey", linestyle=":", label="components spread")
    # the first epochs would flatten all that follows
    values = history[["train_elbo", "validation_elbo"]].to_numpy()
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, 0.05), values.max()
    ax.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    ax.set(xlabel="epoch", ylabel="ELBO (nats per observation)", title="Training")
    ax.legend(frameon=False)
    return ax


def cross_table(adata: AnnData, label: str) -> pd.DataFrame:
    """Counts observations, classes x components, classes ordered by their main component."""
    table = pd.crosstab(adata.obs[label].astype(str), adata.obs["component"].astype(int))
    return table.iloc[np.argsort(table.to_numpy().argmax(axis=1), kind="stable")]


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(6, 4.5), layout="constrained")[1] if ax is None else ax
