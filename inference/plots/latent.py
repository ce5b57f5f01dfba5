"""The latent space: observations in the plane, and rates along a path through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from vae4counts.data import DataError, classes_of
from vae4counts.data.text import LONGEST_NAME
from vae4counts.inference.plots.labels import name_where_they_lie
from vae4counts.inference.plots.layout import UMAP_AXES
from vae4counts.inference.plots.style import (
    GREY,
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
# More classes than this are also named in the plane: their colours are hard to look up.
EASY_CLASSES = 8
# Letters of names, such as numbers of components, that are written in the plane alone.
SHORTEST_NAME = 2
# The share of observations that the axes may leave out at either end.
OUTERMOST = 0.002
# Entries in a column of a legend, and letters of an entry where there are several columns.
LEGEND_ROWS, SHORT_NAME = 25, 20
# Observations without a class are drawn in this colour, behind all others.
PALE, NO_CLASS = "#D9D9D9", "no class"


def latent_space(
    plane: np.ndarray,
    classes: pd.Series | Sequence[str] | np.ndarray,
    *,
    colours: Mapping[str, str] | None = None,
    title: str = "Latent space",
    axis_names: tuple[str, str] = UMAP_AXES,
    ax: Axes | None = None,
) -> Axes:
    """Draw observations in the plane, coloured by class.

    More than eight classes, and those with the shortest names, are named where most of each class
    lie, and not in a legend. Of more than 48, all but the largest are drawn as one. Observations
    without a class are pale. The axes show all but the last few observations at their ends.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        classes: The class of each observation; missing for one without.
        colours: The colour of each class; by default by its place among all (`class_colours`).
        title: What the figure shows.
        axis_names: What the two axes are.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: There is not one class for each observation.
    """
    if len(classes) != len(plane):
        raise DataError(f"there are {len(classes)} classes for {len(plane)} observations")
    codes, names, styles = styled_classes(classes, colours)
    columns = 1 + (len(names) - 1) // LEGEND_ROWS
    ax = axes(ax, 4 + 2 * columns)
    size = np.clip(20_000 / len(plane), 4, 20)
    for i, (colour, marker) in enumerate(styles):
        x, y = plane[codes == i].T
        behind = colour == to_rgb(PALE)
        look: dict[str, Any] = {"color": colour, "marker": marker, "zorder": 0 if behind else 1}
        ax.scatter(x, y, s=size, linewidths=0, alpha=0.8, rasterized=True, **look)
        # large and opaque in the legend, where no points tell the colour
        ax.scatter([], [], s=30, label=str(i), **look)
    ax.set(title=title, xticks=[], yticks=[], xlabel=axis_names[0], ylabel=axis_names[1])
    _set_limits(plane, ax)
    ax.spines[["top", "right"]].set_visible(False)
    if len(names) > EASY_CLASSES or max(map(len, names)) <= SHORTEST_NAME:
        known = [name for name in names if name != NO_CLASS]
        name_where_they_lie(plane, codes, known, styles[: len(known)], ax)
        if max(map(len, names)) <= SHORTEST_NAME:
            return ax
    legend = ax.legend(
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        ncols=columns,
        fontsize="small" if len(names) > 12 else "medium",
        labelspacing=0.25 if len(names) > 12 else 0.5,
    )
    # only now, since matplotlib leaves out what has a label with a leading underscore
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(plain(name, LONGEST_NAME if columns == 1 else SHORT_NAME))
    return ax


def _set_limits(plane: np.ndarray, ax: Axes) -> None:
    """Let a few observations far from all others not make the rest small."""
    low, high = np.quantile(plane, (OUTERMOST, 1 - OUTERMOST), axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    low = np.maximum(low - margin, plane.min(axis=0) - margin)
    high = np.minimum(high + margin, plane.max(axis=0) + margin)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


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
    classes: pd.Series | Sequence[str] | np.ndarray, colours: Mapping[str, str] | None = None
) -> tuple[np.ndarray, list[str], list[tuple[Colour, str]]]:
    """Return each observation's class, and the name, colour and marker of each class to be drawn.

    A categorical keeps its order, other classes are sorted. A class looks the same whichever
    others are there: its style is by its place among all categories. Of more than 48 classes, all
    but the largest become one last class; observations without a class get a pale one after that.

    Args:
        classes: The class of each of ``n`` observations; missing for one without.
        colours: The colour of each class; by default by its place.

    Returns:
        Positions in the two lists that follow, shape ``(n,)``; names; colours and markers.
    """
    values = pd.Series(classes).reset_index(drop=True)
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(pd.Categorical(classes_of(values)))
    everything = [str(name) for name in values.cat.categories]
    look = class_styles(len(everything))
    if colours is not None:
        own = [to_rgb(colours[name]) if name in colours else None for name in everything]
        look = [(mine or colour, mark) for mine, (colour, mark) in zip(own, look, strict=True)]
    all_codes = values.cat.codes.to_numpy().astype(int)
    present = np.unique(all_codes[all_codes >= 0])
    codes = np.where(all_codes < 0, -1, np.searchsorted(present, all_codes))
    names, styles = [everything[k] for k in present], [look[k] for k in present]
    if len(names) > MOST_ROWS:
        sizes = np.bincount(codes[codes >= 0])
        kept = np.sort(np.argsort(-sizes, kind="stable")[: MOST_ROWS - 1])
        places = np.full(len(names), len(kept))
        places[kept] = np.arange(len(kept))
        codes = np.where(codes < 0, -1, places[codes])
        others = f"{len(names) - len(kept):,} others"
        names = [*(names[k] for k in kept), others]
        styles = [*(styles[k] for k in kept), (to_rgb(GREY), "o")]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(names), codes)
        names, styles = [*names, NO_CLASS], [*styles, (to_rgb(PALE), "o")]
    return codes, names, styles
