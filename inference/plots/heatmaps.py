"""Tables as heat maps: labels by component, features by component or latent, pairs of features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from vae4counts.data import DataError
from vae4counts.inference.plots.style import (
    DARK,
    DIVERGING,
    MOST_ROWS,
    SEQUENTIAL,
    axes,
    label_room,
    largest_rows,
    plain,
)


def component_heatmap(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how each class spreads over the components.

    Of more than 48 classes or components, all but the largest are added up.

    Args:
        table: Numbers of observations, classes x components (see `component_labels`).
        ax: Where to draw; new axes if None.
    """
    table = largest_rows(largest_rows(table).T).T
    ax = axes(ax, 3.5 + 0.45 * table.shape[1] + label_room(table), 1.5 + 0.3 * table.shape[0])
    share = table.div(table.sum(axis=1), axis=0).to_numpy()
    image = ax.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for (i, j), count in np.ndenumerate(table.to_numpy()):
        if count:
            colour = "white" if share[i, j] > DARK else "black"
            ax.text(j, i, count, ha="center", va="center", color=colour, fontsize=8)
    _ticks(ax, table)
    ax.set(xlabel="component", title="Observations of each class, by component")
    ax.figure.colorbar(image, ax=ax, label="share of the class")
    return ax


def top_features_heatmap(
    table: pd.DataFrame,
    *,
    n: int = 3,
    both_ends: bool = False,
    title: str | None = None,
    unit: str = "log2 fold change",
    ax: Axes | None = None,
) -> Axes:
    """Draw the features that stand out in each column of a signed table.

    For `component_contrasts` the top features of each component; for `latent_effects` and
    loadings, with ``both_ends``, those at either end of each latent. At most 48 columns are shown.

    Args:
        table: Features x components, or features x latents.
        n: How many features to show for each column (and end).
        both_ends: Whether the smallest values stand out too.
        title: What the figure shows.
        unit: What the values are.
        ax: Where to draw; new axes if None.
    """
    chosen: dict[int, None] = {}  # positions, in order
    for column in table.to_numpy(dtype=float)[:, :MOST_ROWS].T:
        ordered = np.argsort(-column, kind="stable")
        ordered = ordered[~np.isnan(column[ordered])]
        chosen |= dict.fromkeys([*ordered[:n], *(ordered[-n:] if both_ends else [])])
    shown = table.iloc[list(chosen), :MOST_ROWS]
    ax = axes(ax, 2.8 + 0.35 * shown.shape[1] + label_room(shown), 1.4 + 0.19 * shown.shape[0])
    sizes = np.abs(shown.to_numpy(dtype=float))
    # one outlier would leave all others pale
    most = max(np.quantile(sizes[np.isfinite(sizes)], 0.98), 1e-12) if len(chosen) else 1.0
    image = ax.imshow(shown, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto")
    _ticks(ax, shown)
    ax.tick_params(axis="y", labelsize="small")
    what = table.columns.name
    if table.shape[1] > MOST_ROWS:
        what = f"{what} (the first {MOST_ROWS} of {table.shape[1]:,})"
    ax.set(xlabel=what, title=title or f"Top features of each {table.columns.name}")
    ax.figure.colorbar(image, ax=ax, label=unit, extend="both", fraction=0.08)
    return ax


def topic_heatmap(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw from which topics the counts of features come.

    At most 48 topics are shown, the first ones.

    Args:
        table: Shares, features x topics, of `Interpretation.feature_topics`.
        ax: Where to draw; new axes if None.
    """
    shown = table.iloc[:, :MOST_ROWS]
    ax = axes(ax, 3 + 0.35 * shown.shape[1] + label_room(shown), 1.5 + 0.19 * shown.shape[0])
    image = ax.imshow(shown, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    _ticks(ax, shown)
    ax.tick_params(axis="y", labelsize="small")
    ax.set(xlabel="topic", title="Which topics the counts of features come from")
    ax.figure.colorbar(image, ax=ax, label="share of the feature's counts", fraction=0.08)
    return ax


def latent_shares_heatmap(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of each table's variation is along each latent.

    Args:
        shares: Latents x tables, of `latent_shares`; at most 48 latents are shown.
        ax: Where to draw; new axes if None.
    """
    shown = shares.iloc[:MOST_ROWS]
    ax = axes(ax, 3 + 0.9 * shown.shape[1], 1.8 + 0.3 * len(shown))
    image = ax.imshow(shown, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    _numbers(ax, shown, [value <= DARK for value in shown.to_numpy().ravel()], "{:.2f}")
    _ticks(ax, shown)
    ax.set(xlabel="table", ylabel="latent", title="Variation along each latent")
    ax.figure.colorbar(image, ax=ax, label="share of the table's variation")
    return ax


def gains_heatmap(gains: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw by how much tables are better predicted given others.

    Args:
        gains: ``log p(table | others) - log p(table)`` in nats, tables x others; NaN for none.
        ax: Where to draw; new axes if None.
    """
    ax = axes(ax, 3.5 + 1.3 * gains.shape[1], 1.8 + 0.6 * len(gains))
    values = gains.to_numpy(dtype=float)
    most = max(float(np.abs(values[np.isfinite(values)]).max(initial=0)), 1e-12)
    image = ax.imshow(values, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto")
    _numbers(ax, gains, [abs(value) < 0.6 * most for value in values.ravel()], "{:+.1f}")
    _ticks(ax, gains)
    ax.set(xlabel="given", ylabel="predicted", title="What tables say of each other")
    ax.figure.colorbar(image, ax=ax, label="nats per observation gained")
    return ax


def _numbers(ax: Axes, table: pd.DataFrame, black: list[bool], form: str) -> None:
    """Write the values that are there into the cells, in black or white."""
    values = table.to_numpy(dtype=float)
    for ((i, j), value), is_black in zip(np.ndenumerate(values), black, strict=True):
        if np.isfinite(value):
            colour = "black" if is_black else "white"
            ax.text(j, i, form.format(value), ha="center", va="center", color=colour, fontsize=8)


def cooccurrence_heatmap(
    lift: pd.DataFrame, *, title: str = "Together, against chance", ax: Axes | None = None
) -> Axes:
    """Draw how much more often than by chance pairs of features occur together.

    Args:
        lift: Features x features, of `cooccurrence`.
        title: What the figure shows.
        ax: Where to draw; new axes if None.

    Raises:
        DataError: There are more than 48 features.
    """
    if len(lift) > MOST_ROWS:
        raise DataError(f"{len(lift):,} features cannot be read: choose {MOST_ROWS} or fewer")
    room = label_room(lift)
    ax = axes(ax, 2.4 + 0.48 * len(lift) + room, 1.6 + 0.42 * len(lift) + room)
    with np.errstate(divide="ignore"):  # features that are never together
        values = np.log2(lift.to_numpy(dtype=float))
    most = max(1.0, float(np.abs(values[np.isfinite(values)]).max(initial=0)))
    values = values.clip(-most, most)
    image = ax.imshow(values, cmap=DIVERGING, norm=TwoSlopeNorm(0, -most, most))
    for (i, j), value in np.ndenumerate(lift.to_numpy(dtype=float)):
        if not np.isnan(value):
            colour = "white" if abs(values[i, j]) > 0.6 * most else "black"
            text = f"{value:.0f}" if value >= 10 else f"{value:.1f}"
            ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
    _ticks(ax, lift)
    ax.tick_params(axis="x", labelrotation=60)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    ax.set(title=title)
    bar = ax.figure.colorbar(image, ax=ax, label="lift", fraction=0.046)
    step = max(1, round(most / 3))
    powers = np.arange(-int(most) // step * step, int(most) + 1, step)
    shown = [float(power) for power in powers if abs(power) <= most]
    bar.set_ticks(shown, labels=[f"{2.0**p:g}" if p >= 0 else f"1/{2**-p:g}" for p in shown])
    return ax


def _ticks(ax: Axes, table: pd.DataFrame) -> None:
    ax.set_xticks(range(table.shape[1]), map(plain, table.columns))
    ax.set_yticks(range(table.shape[0]), map(plain, table.index))
