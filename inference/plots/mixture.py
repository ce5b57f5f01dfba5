"""Whether a mixture is in use: how large its components are, and how far apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from vae4counts.inference.plots.style import BLUE, GREY, ORANGE, axes

MAX_TICKS = 30
MAX_WIDTH = 20


def component_weights(weights: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw the prior's weights, with a line at equal weights."""
    ax = _bars(weights, BLUE, ax)
    ax.axhline(1 / len(weights), color=GREY, linestyle=":")
    ax.set(ylabel="weight", title="How large: weights, and equal shares")
    return ax


def component_overlaps(overlaps: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw each component's overlap with the one nearest to it (see `overlaps`)."""
    ax = _bars(overlaps, ORANGE, ax)
    ax.set(ylim=(0, 1), ylabel="overlap", title="How far apart: overlap with the nearest")
    return ax


def _bars(heights: Sequence[float], colour: str, ax: Axes | None) -> Axes:
    ax = axes(ax, min(3 + 0.15 * len(heights), MAX_WIDTH), 3)
    places = np.arange(len(heights))
    ax.bar(places, heights, color=colour)
    step = -(-len(heights) // MAX_TICKS)
    ax.set(xlabel="component", xticks=places[::step])
    ax.spines[["top", "right"]].set_visible(False)
    return ax
