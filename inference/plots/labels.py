"""Names written where classes lie, apart from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import rgb_to_hsv

from vae4counts.inference.plots.style import Colour, plain

LONGEST = 18
# Of the height of the axes, and of a letter's width against a line's height.
LINE, LETTER = 0.05, 0.42
# A name does not cover a class of less than this many lines, but stands above it.
LOW = 1.5
STEPS = 100


def name_where_they_lie(
    plane: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    styles: Sequence[tuple[Colour, str]],
    ax: Axes,
) -> None:
    """Write each class's name where most of its observations are, in its colour.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        codes: The class of each observation.
        names: Names of the classes.
        styles: Their colours and markers.
        ax: Where to write, with its limits set.
    """
    texts = [plain(name, LONGEST) for name in names]
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    middles = np.stack([_middle(plane[codes == i], low, high) for i in range(len(names))])
    places = (middles - low) / (high - low)
    tops = np.array([_top(plane[codes == i], middles[i], low, high) for i in range(len(names))])
    beside = places[:, 1] + LINE * LOW / 2 > tops
    places[:, 1] = np.where(beside, tops + 0.7 * LINE, places[:, 1])
    ratio = ax.get_position().height * ax.figure.get_figheight()  # type: ignore[union-attr]
    ratio /= ax.get_position().width * ax.figure.get_figwidth()  # type: ignore[union-attr]
    widths = LINE * LETTER * ratio * np.array([max(len(text), 2) for text in texts])
    for text, (x, y), (colour, _) in zip(texts, _apart(places, widths), styles, strict=True):
        written = ax.text(
            x,
            y,
            text,
            transform=ax.transAxes,
            ha="center",
            va="center",
            weight="bold",
            fontsize="small" if len(names) > 12 or len(text) > 2 else "medium",
            color=_readable(colour),
            clip_on=False,
        )
        written.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def _apart(places: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Move the middles of boxes up and down until none covers another, within the axes."""
    moved = places.copy()
    moved[:, 0] = np.clip(moved[:, 0], widths / 2, np.maximum(1 - widths / 2, widths / 2))
    near = np.abs(moved[:, None, 0] - moved[None, :, 0]) < (widths[:, None] + widths) / 2
    np.fill_diagonal(near, val=False)
    for _ in range(STEPS):
        between = moved[:, None, 1] - moved[None, :, 1]
        # of two at the same height the first goes up
        up = np.where(between == 0, np.arange(len(moved)) < np.arange(len(moved))[:, None], between)
        push = near * np.clip(LINE - np.abs(between), 0, None) * np.where(up > 0, 1, -1)
        if not push.any():
            break
        moved[:, 1] = np.clip(moved[:, 1] + push.sum(axis=1) / 3, 0.02, 0.98)
    return moved


def _middle(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where most of the points are: the median of those around the fullest of 20 x 20 cells."""
    cells = np.floor((points - low) / np.maximum(high - low, 1e-12) * 20)
    fullest, numbers = np.unique(cells, axis=0, return_counts=True)
    centre = low + (fullest[numbers.argmax()] + 0.5) / 20 * (high - low)
    near = np.abs(points - centre).max(axis=1) <= (high - low).max() / 10
    return np.median(points[near] if near.any() else points, axis=0)


def _top(points: np.ndarray, middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """How high the points around a middle reach, as a share of the axes."""
    near = np.abs((points - middle) / (high - low)).max(axis=1) <= 2 * LINE
    return float((np.quantile(points[near, 1], 0.95) - low[1]) / (high - low)[1])


def _readable(colour: Colour) -> Colour:
    """A colour that is dark enough for letters on white."""
    _, _, brightness = rgb_to_hsv(colour)
    share = min(1.0, 0.62 / max(brightness, 1e-6))
    red, green, blue = (part * share for part in colour)
    return red, green, blue
