"""Whether a mixture is in use: how large its components are, how far apart, and how stable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vae4counts.inference.plots.style import BLUE, GREEN, GREY, ORANGE, SLATE, axes

MAX_TICKS = 30
MAX_WIDTH = 20


def component_weights(weights: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw the prior's weights, with a line at equal weights."""
    ax = _bars(weights, ax)
    ax.axhline(1 / len(weights), color=GREY, linestyle=":")
    ax.set(ylabel="weight", title="How large: weights, and equal shares")
    return ax


def component_overlaps(overlaps: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw each component's overlap with the one nearest to it (see `overlaps`)."""
    ax = _bars(overlaps, ax)
    ax.set(ylim=(0, 1), ylabel="overlap", title="How far apart: overlap with the nearest")
    return ax


def component_stability(stability: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw how well each component is found again in resampled latents."""
    ax = _bars(stability, ax)
    ax.set(ylim=(0, 1), ylabel="stability", title="How stable: found again by resampling")
    return ax


def how_many_groups(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what speaks for each number of groups: see `Interpretation.how_many_groups`."""
    ax = axes(ax, 6, 3.5)
    error = 2 * table["nats_se"]
    ax.plot(table.index, table["nats"], color=BLUE, marker="o", label="nats over one group")
    ax.fill_between(
        table.index, table["nats"] - error, table["nats"] + error, color=BLUE, alpha=0.2, lw=0
    )
    ax.set(xlabel="number of groups", ylabel="nats per observation", title="How many groups?")
    right = ax.twinx()
    right.plot(
        table.index, table["mean_stability"], color=GREEN, marker="s", label="stability (mean)"
    )
    right.plot(table.index, table["overlap"], color=ORANGE, marker="^", label="largest overlap")
    right.set(ylim=(0, 1.02), ylabel="stability, overlap")
    lines = [*ax.get_lines(), *right.get_lines()]
    ax.legend(
        lines,
        [str(line.get_label()) for line in lines],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),  # no place between the lines is always free
        ncols=len(lines),
        frameon=False,
        fontsize="small",
    )
    for each in (ax, right):
        each.spines["top"].set_visible(False)
    return ax


def _bars(heights: Sequence[float], ax: Axes | None) -> Axes:
    # in no colour that means a class
    ax = axes(ax, min(3 + 0.15 * len(heights), MAX_WIDTH), 3)
    places = np.arange(len(heights))
    ax.bar(places, heights, color=SLATE)
    step = -(-len(heights) // MAX_TICKS)
    ax.set(xlabel="component", xticks=places[::step])
    ax.spines[["top", "right"]].set_visible(False)
    return ax
