"""The latent space: observations in the plane, and rates along a path through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from vae4counts.data import DataError, classes_of
from vae4counts.data.text import LONGEST_NAME
from vae4counts.data.warning import warn
from vae4counts.inference.parallel.threads import kept_threads
from vae4counts.inference.plots.style import (
    MOST_ROWS,
    PALETTE,
    Colour,
    apart,
    axes,
    class_styles,
    plain,
)

# More points than this only make a figure slower to draw and harder to read.
MOST_POINTS = 5000
# More classes than this are also numbered in the plane: their colours are hard to look up.
EASY_CLASSES = 8
# Entries in a column of a legend, and letters of an entry where there are several columns.
LEGEND_ROWS, SHORT_NAME = 25, 20
# Observations without a class are drawn in this colour, behind all others.
PALE, NO_CLASS = "#D9D9D9", "no class"


def two_dimensions(latents: np.ndarray, seed: int = 0) -> tuple[np.ndarray, tuple[str, str]]:
    """Lay latents out in the plane by UMAP (McInnes et al. 2018).

    Where umap-learn is not installed, which is said, the plane is that of the two principal
    components.

    Args:
        latents: Shape ``(n, L)``.
        seed: Seed of the layout.

    Returns:
        Coordinates of shape ``(n, 2)`` and names of the two axes. Latents of one or two
        dimensions, or of few observations, are taken as `best_directions` are.
    """
    if latents.shape[1] <= 2 or len(latents) < 20:
        return best_directions(latents)
    try:
        from umap import UMAP  # slow to import
    except ImportError:
        from sklearn.decomposition import PCA

        warn("Latents are laid out by principal components; for UMAP, pip install umap-learn.")
        return PCA(2, svd_solver="full").fit_transform(latents), ("PC 1", "PC 2")
    with kept_threads():
        plane = UMAP(random_state=seed, n_jobs=1).fit_transform(latents)
    return plane, ("UMAP 1", "UMAP 2")


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

    More than eight classes are numbered as well, in the legend and where most of each class lie;
    of more than 48, all but the largest are drawn as one. Observations without a class are pale.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        classes: The class of each observation; missing for one without.
        title: What the figure shows.
        axis_names: What the two axes are.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: There is not one class for each observation.
    """
    if len(classes) != len(plane):
        raise DataError(f"there are {len(classes)} classes for {len(plane)} observations")
    codes, names, styles = styled_classes(classes)
    columns = 1 + (len(names) - 1) // LEGEND_ROWS
    ax = axes(ax, 4 + 2 * columns)
    sides = (plane.min(axis=0), plane.max(axis=0))
    size = np.clip(20_000 / len(plane), 4, 20)
    many, short = len(names) > EASY_CLASSES, max(map(len, names)) <= 2
    entries = [plain(name, LONGEST_NAME if columns == 1 else SHORT_NAME) for name in names]
    for i, (colour, marker) in enumerate(styles):
        chosen = plane[codes == i]
        behind = colour == to_rgb(PALE)
        look: dict[str, Any] = {"color": colour, "marker": marker, "zorder": 0 if behind else 1}
        x, y = chosen.T
        ax.scatter(x, y, s=size, linewidths=0, alpha=0.8, rasterized=True, **look)
        # large and opaque in the legend, where no points tell the colour
        ax.scatter([], [], s=30, label=str(i), **look)
        if many:
            number = entries[i] if short else str(i + 1)
            _write(ax, number, _middle(chosen, sides))
            entries[i] = number if short else f"{number}  {entries[i]}"
    ax.set(title=title, xticks=[], yticks=[], xlabel=axis_names[0], ylabel=axis_names[1])
    legend = ax.legend(
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        ncols=columns,
        fontsize="small" if len(names) > 12 else "medium",
        labelspacing=0.25 if len(names) > 12 else 0.5,
    )
    # only now, since matplotlib leaves out what has a label with a leading underscore
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_text(entry)
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
        DataError: A feature is not in the table, or more than 48 are to be drawn.
    """
    ax = axes(ax)
    if features is None:
        common = along.loc[:, along.max() > along.max().median() / 100]
        change = np.log(common.max().clip(lower=1e-20) / common.min().clip(lower=1e-20))
        features = list(change.sort_values(ascending=False, kind="stable").index[:n])
    missing = [name for name in features if name not in along]
    if missing:
        raise DataError(f"there is no feature {missing[0]!r} in the table")
    if len(features) > MOST_ROWS:
        raise DataError(f"{len(features):,} features cannot be told apart: choose {MOST_ROWS}")
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
            plain(name),
            (at[-1], 10 ** ends[i]),
            xytext=(at[-1] + 0.04 * (at[-1] - at[0]), 10 ** heights[i]),
            va="center",
            fontsize="small",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
            annotation_clip=False,
        )
    what = "" if along.index.name is None else plain(along.index.name, longest=60)
    ax.set(yscale="log", xlabel=what, ylabel="expected count", title=title or "")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def styled_classes(
    classes: pd.Series | Sequence[str] | np.ndarray,
) -> tuple[np.ndarray, list[str], list[tuple[Colour, str]]]:
    """Return each observation's class, and the name, colour and marker of each class to be drawn.

    A categorical keeps its order, other classes are sorted. Of more than 48 classes, all but the
    largest become one last class; observations without a class get a pale one after that.

    Args:
        classes: The class of each of ``n`` observations; missing for one without.

    Returns:
        Positions in the two lists that follow, shape ``(n,)``; names; colours and markers.
    """
    values = pd.Series(classes).reset_index(drop=True)
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(pd.Categorical(classes_of(values)))
    chosen = values.cat.remove_unused_categories().cat
    codes, names = chosen.codes.to_numpy().astype(int), [str(name) for name in chosen.categories]
    if len(names) > MOST_ROWS:
        sizes = np.bincount(codes[codes >= 0])
        kept = np.sort(np.argsort(-sizes, kind="stable")[: MOST_ROWS - 1])
        places = np.full(len(names), len(kept))
        places[kept] = np.arange(len(kept))
        codes = np.where(codes < 0, -1, places[codes])
        names = [*(names[k] for k in kept), f"{len(names) - len(kept):,} others"]
    styles = class_styles(len(names))
    if (codes < 0).any():
        codes = np.where(codes < 0, len(names), codes)
        names, styles = [*names, NO_CLASS], [*styles, (to_rgb(PALE), "o")]
    return codes, names, styles


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
