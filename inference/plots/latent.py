"""The latent space: observations in the plane, and rates along a path through it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes

from vae4counts.data import DataError, classes_of
from vae4counts.inference.plots.style import GREY, PALETTE, apart, axes, class_styles

# More points than this only make a figure slower to draw and harder to read.
MOST_POINTS = 5000
# More classes than this are also numbered in the plane: their colours are hard to look up.
EASY_CLASSES = 8
LISTED_CLASSES = 48


def two_dimensions(latents: np.ndarray, seed: int = 0) -> tuple[np.ndarray, tuple[str, str]]:
    """Lay latents out in the plane by UMAP (McInnes et al. 2018).

    Args:
        latents: Shape ``(n, L)``.
        seed: Seed of the layout.

    Returns:
        Coordinates of shape ``(n, 2)`` and names of the two axes. Latents of one or two
        dimensions, or of few observations, are taken as `best_directions` are.
    """
    if latents.shape[1] <= 2 or len(latents) < 20:
        return best_directions(latents)
    from umap import UMAP  # slow to import

    return UMAP(random_state=seed, n_jobs=1).fit_transform(latents), ("UMAP 1", "UMAP 2")


def best_directions(latents: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return the two latents along which the observations vary most.

    Args:
        latents: Posterior means, shape ``(n, L)``.

    Returns:
        Coordinates of shape ``(n, 2)`` and the latents' names; zeros where there is only one.
    """
    best = np.argsort(-latents.var(axis=0), kind="stable")[:2]
    names = [f"z{latent}" for latent in best] + [""] * (2 - len(best))
    plane = np.pad(latents[:, best], ((0, 0), (0, 2 - len(best))))
    return plane, (names[0], names[1])


def latent_space(
    plane: np.ndarray,
    classes: pd.Series | Sequence[str] | np.ndarray,
    *,
    title: str = "Latent space",
    axis_names: tuple[str, str] = ("UMAP 1", "UMAP 2"),
    ax: Axes | None = None,
) -> Axes:
    """Draw observations in the plane, coloured by class.

    More than eight classes are numbered as well, in the legend and where most of each class lie.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        classes: The class of each observation.
        title: What the figure shows.
        axis_names: What the two axes are.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: There is not one class for each observation.
    """
    if len(classes) != len(plane):
        raise DataError(f"there are {len(classes)} classes for {len(plane)} observations")
    ax = axes(ax)
    codes, categories = as_categories(classes)
    sides = (plane.min(axis=0), plane.max(axis=0))
    size = np.clip(20_000 / len(plane), 4, 20)
    short = max(map(len, categories), default=0) <= 2
    if (unknown := codes < 0).any():
        x, y = plane[unknown].T
        ax.scatter(x, y, s=size / 2, linewidths=0, alpha=0.5, color=GREY, rasterized=True)
        ax.scatter([], [], s=30, color=GREY, label="no class")
    for i, (colour, marker) in enumerate(class_styles(len(categories))):
        chosen = plane[codes == i]
        x, y = chosen.T
        ax.scatter(
            x, y, s=size, linewidths=0, alpha=0.8, color=colour, marker=marker, rasterized=True
        )
        name = categories[i]
        if len(categories) > EASY_CLASSES and not short:
            name = f"{i + 1}  {name}"
        # large and opaque in the legend, where no points tell the colour
        ax.scatter([], [], s=30, color=colour, marker=marker, label=name)
        if len(categories) > EASY_CLASSES:
            _write(ax, name.split()[0], _middle(chosen, sides))
    ax.set(title=title, xticks=[], yticks=[], xlabel=axis_names[0], ylabel=axis_names[1])
    if len(categories) <= LISTED_CLASSES:
        ax.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            frameon=False,
            ncols=1 + (len(categories) - 1) // 24,
            fontsize="small" if len(categories) > 12 else "medium",
        )
    return ax


def traversal(
    along: pd.DataFrame,
    features: Sequence[str] | None = None,
    *,
    n: int = 8,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how rates change along a path through the latent space, each named where it ends.

    Args:
        along: Rates, steps x features, of `traverse_latent` or `traverse_groups`.
        features: Which to draw; if None, the ``n`` whose rates change by the largest factor,
            among those that exceed a hundredth of the median rate somewhere.
        n: See ``features``.
        title: What the figure shows.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: A feature is not in the table.
    """
    ax = axes(ax)
    if features is None:
        common = along.loc[:, along.max() > along.max().median() / 100]
        change = np.log(common.max().clip(lower=1e-20) / common.min().clip(lower=1e-20))
        features = list(change.sort_values(ascending=False, kind="stable").index[:n])
    missing = [name for name in features if name not in along]
    if missing:
        raise DataError(f"there is no feature {missing[0]!r} in the table")
    at = along.index.to_numpy(dtype=float)
    ends = np.log10(along[features].iloc[-1].to_numpy(dtype=float).clip(min=1e-20))
    levels = np.log10(along[features].to_numpy(dtype=float).clip(min=1e-20))
    room = (levels.max() - levels.min() + 0.1) * 0.055
    heights = apart(ends, room)
    for i, name in enumerate(features):
        colour = PALETTE[i % len(PALETTE)]
        style = ("-", "--", ":", "-.")[i // len(PALETTE) % 4]
        ax.plot(at, along[name], color=colour, linestyle=style, linewidth=2)
        ax.annotate(
            name,
            (at[-1], 10 ** ends[i]),
            xytext=(at[-1] + 0.04 * (at[-1] - at[0]), 10 ** heights[i]),
            va="center",
            fontsize="small",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
            annotation_clip=False,
        )
    ax.set(yscale="log", xlabel=along.index.name, ylabel="expected count", title=title or "")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def as_categories(classes: pd.Series | Sequence[str] | np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return codes and names of classes; a categorical keeps its order, others are sorted.

    The code of an observation without a class is -1.
    """
    values = pd.Series(classes)
    if isinstance(values.dtype, pd.CategoricalDtype):
        chosen = values.cat.remove_unused_categories()
        return chosen.cat.codes.to_numpy(), [str(name) for name in chosen.cat.categories]
    chosen = pd.Categorical(classes_of(values))
    return np.asarray(chosen.codes), list(chosen.categories)


def _middle(points: np.ndarray, sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Where most of the points are: the median of those around the fullest of 20 x 20 cells."""
    low, high = sides
    cells = np.floor((points - low) / np.maximum(high - low, 1e-12) * 20)
    fullest, numbers = np.unique(cells, axis=0, return_counts=True)
    centre = low + (fullest[numbers.argmax()] + 0.5) / 20 * (high - low)
    near = np.abs(points - centre).max(axis=1) <= (high - low).max() / 10
    return np.median(points[near] if near.any() else points, axis=0)


def _write(ax: Axes, name: str, at: np.ndarray) -> None:
    # a little above, so that a small class is not hidden
    text = ax.annotate(
        name,
        (at[0], at[1]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        va="center",
        weight="bold",
    )
    text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])
