"""A tree of features, from the middle outwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from vae4counts.inference.interpretation.feature_tree import node_names
from vae4counts.inference.plots.style import BLUE, GREY, axes, plain
from vae4counts.models import FeatureTree

# More names than this cannot be read; of a larger tree the closest links are drawn.
MOST_LINKS = 150
# Points that the strongest link is wide.
WIDEST = 4.0
LONGEST = 16


def feature_tree(tree: FeatureTree, features: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw a tree of features; the wider a link, the more its ends tell of each other.

    Of a tree of more than 150 links the closest 150 are drawn, which may be several trees.

    Args:
        tree: The tree.
        features: Names of the features.
        ax: Where to draw; a new figure if None.
    """
    ax = axes(ax, 9, 9)
    below = np.flatnonzero(tree.parents >= 0)
    closest = below[np.argsort(-tree.information[below], kind="stable")[:MOST_LINKS]]
    parents = np.full(len(tree.parents), -1)
    parents[closest] = tree.parents[closest]
    shown = np.union1d(closest, parents[closest])
    places = _places(parents, shown)
    ends = [(places[node], places[parents[node]]) for node in closest]
    share = tree.information[closest] / max(tree.information.max(), np.finfo(float).tiny)
    ax.add_collection(LineCollection(ends, linewidths=0.3 + WIDEST * share, colors=GREY, zorder=1))
    points = np.array([places[node] for node in shown])
    ax.scatter(points[:, 0], points[:, 1], s=8, color=BLUE, zorder=2)
    names = node_names(tree, features)
    for node in shown:
        x, y = places[node]
        turned = np.degrees(np.arctan2(y, x))
        flipped = abs(turned) > 90
        ax.annotate(
            plain(names[node], LONGEST) if names[node] else "",  # of no feature
            (x, y),
            rotation=turned - 180 * np.sign(turned) if flipped else turned,
            rotation_mode="anchor",
            ha="right" if flipped else "left",
            va="center",
            fontsize=7,
            xytext=(-4 if flipped else 4, 0),
            textcoords="offset points",
        )
    ax.set(title="Tree of features", aspect="equal")
    ax.margins(0.12)
    ax.set_axis_off()
    return ax


def _places(parents: np.ndarray, shown: np.ndarray) -> dict[int, tuple[float, float]]:
    """Return where to draw each node: ends evenly around a circle, others between their own."""
    children: dict[int, list[int]] = {int(node): [] for node in (-1, *shown)}
    for node in shown:
        children[int(parents[node])].append(int(node))
    ends, depth, order = [], {-1: -1}, []
    waiting = [-1]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(children[node])
        depth.update(dict.fromkeys(children[node], depth[node] + 1))
        if not children[node]:
            ends.append(node)
    angle = {node: 2 * np.pi * i / len(ends) for i, node in enumerate(ends)}
    for node in reversed(order):
        if children[node]:
            angle[node] = float(np.mean([angle[child] for child in children[node]]))
    # one tree has its root in the middle, several have theirs around it
    first = 0 if len(children[-1]) == 1 else 1
    return {
        node: (
            (depth[node] + first) * np.cos(angle[node]),
            (depth[node] + first) * np.sin(angle[node]),
        )
        for node in map(int, shown)
    }
