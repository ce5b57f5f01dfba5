"""Differential expression: how large each change is, and how certain."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vae4counts.data import DataError
from vae4counts.inference.plots.style import BLUE, GREY, VERMILLION, apart, axes, plain


def volcano(
    table: pd.DataFrame, *, n: int = 6, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw each feature's log-fold change and Bayes factor.

    Of the features that are named the standard deviation of the change is drawn too, where the
    table has it (``lfc_std``).

    Args:
        table: One comparison of `differential_expression`, in the "change" mode.
        n: How many of the called features to name on either side.
        title: What the figure shows; the comparison if None.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: The table is not of the "change" mode, or holds several comparisons.
    """
    called_names = [name for name in table if str(name).startswith("is_de_fdr_")]
    if not called_names:
        raise DataError("the table has no column is_de_fdr_...: compare in the 'change' mode")
    if "comparison" in table and len(set(table["comparison"])) > 1:
        raise DataError("the table holds several comparisons: choose one by its column")
    ax = axes(ax)
    called = table[called_names[0]].to_numpy(dtype=bool)
    names = [plain(name) for name in table.index]
    x, y = (table[key].to_numpy(dtype=float) for key in ("lfc_mean", "bayes_factor"))
    # where all pairs agree the factor is unbounded: such features are drawn above the others
    certain = table["proba_de"].to_numpy() >= 1
    if certain.any() and not certain.all():
        y = np.where(certain, y[~certain].max() + 1, y)
    for mask, colour, label in (
        (~called, GREY, "not called"),
        (called & (x > 0), VERMILLION, "up"),
        (called & (x <= 0), BLUE, "down"),
    ):
        label = f"{label} ({int(mask.sum())})"
        ax.scatter(x[mask], y[mask], s=10, color=colour, linewidths=0, alpha=0.8, label=label)
    edge = 1.15 * float(np.abs(x).max() or 1)
    room = 0.05 * max(float(y.max() - y.min()), 1.0)
    top = y.max() + room
    for side, sign in ((x > 0, 1), (x <= 0, -1)):
        beside = np.flatnonzero(called & side)
        largest = beside[np.argsort(-np.abs(x[beside]), kind="stable")[:n]]
        heights = apart(y[largest], room)
        top = max(top, *heights + room, top)
        if "lfc_std" in table:
            spread = table["lfc_std"].to_numpy()[largest]
            ax.errorbar(x[largest], y[largest], xerr=spread, fmt="none", ecolor=GREY, elinewidth=1)
        for feature, height in zip(largest, heights, strict=True):
            ax.annotate(
                names[feature],
                (x[feature], y[feature]),
                xytext=(sign * edge, height),
                ha="left" if sign > 0 else "right",
                va="center",
                fontsize="small",
                arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5},
            )
    ax.set(
        xlim=(-1.5 * edge, 1.5 * edge),
        ylim=(y.min() - room, top),
        xlabel="log2 fold change (mean)",
        ylabel="log Bayes factor (nats)",
        title=title or (plain(table["comparison"].iloc[0], 60) if "comparison" in table else ""),
    )
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax
