"""Whether posteriors can be trusted: the tails of their importance weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vae4counts.inference.plots.style import GREY, PALETTE, axes, plain
from vae4counts.inference.posterior.importance import HIGH_K

# Shapes beyond these are drawn at them.
SHOWN = (-0.5, 2.0)
BINS = 40


def pareto_shapes(shapes: Mapping[str, pd.Series], *, ax: Axes | None = None) -> Axes:
    """Draw how many observations have which Pareto k, with a line at the highest to be trusted.

    Args:
        shapes: The shape k of each observation, by the name of the posteriors.
        ax: Axes to draw on; new ones by default.
    """
    ax = axes(ax, 6, 3)
    edges = np.linspace(*SHOWN, BINS + 1).tolist()
    for colour, (name, k) in zip(PALETTE, shapes.items(), strict=False):
        ax.hist(np.clip(k, *SHOWN), edges, color=colour, alpha=0.6, label=plain(name))
    ax.axvline(HIGH_K, color=GREY, linestyle=":")
    ax.set(xlabel="Pareto k (right of the line: not to be trusted)", ylabel="observations")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
