"""A tree of features, from the middle outwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from vae4counts.inference.interpretation.feature_tree import features_of_nodes
from vae4counts.inference.plots.style import BLUE, GREY, axes, plain
from vae4counts.models import FeatureTree

# Names of more nodes than this cannot be read; of a larger tree the closest links are drawn.
MOST_LINKS = 120
# Inches that the figure is wide, that a letter is, and that a line of text is high.
SIZE, LETTER, LINE = 9.0, 0.06, 0.115
FONT_SIZE = 7
# From a node to its name, and from the first circle to the last at least, in inches.
GAP, LEAST_DEPTH = 0.06, 0.5
# Points that the strongest link is wide.
WIDEST = 4.0
# Letters of a feature's name.
LONGEST = 16
# Along a link, from the parent to the node.
WAY = np.linspace(0, 1, 20)

Polar = tuple[float, float]


def feature_tree(tree: FeatureTree, features: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw a tree of features; the wider a link, the more its ends tell of each other.

    Each node has an angle of its own, between those of its branches, and the circle of those next
    to the root is so large that names on it do not meet. Names point outwards and links run inside
    of the circle of a node, so that neither covers a name. Of a tree of more than 120 links the
    closest 120 are drawn, which may be several trees.

    Args:
        tree: The tree.
        features: Names of the features.
        ax: Where to draw; a new figure if None.
    """
    ax = axes(ax, SIZE, SIZE)
    below = np.flatnonzero(tree.parents >= 0)
    closest = below[np.argsort(-tree.information[below], kind="stable")[:MOST_LINKS]]
    parents = np.full(len(tree.parents), -1)
    parents[closest] = tree.parents[closest]
    shown = np.union1d(closest, parents[closest])
    names = features_of_nodes(tree, features)
    labels = {node: ", ".join(plain(name, LONGEST) for name in names[node]) for node in shown}
    room = GAP + LETTER * max(map(len, labels.values()))
    places = _places(parents, shown, SIZE / 2 - room)
    links = [_point(*_curve(places[parents[node]], places[node])) for node in closest]
    share = tree.information[closest] / max(tree.information.max(), np.finfo(float).tiny)
    ax.add_collection(LineCollection(links, linewidths=0.3 + WIDEST * share, colors=GREY, zorder=1))
    points = np.array([_point(*places[node]) for node in shown])
    ax.scatter(points[:, 0], points[:, 1], s=8, color=BLUE, zorder=2)
    for node, label in labels.items():
        _name(ax, places[node], label)
    outermost = room + max(radius for radius, _ in places.values())
    ax.set(title="Tree of features", aspect="equal")
    ax.set(xlim=(-outermost, outermost), ylim=(-outermost, outermost))
    ax.set_axis_off()
    return ax


def _name(ax: Axes, place: Polar, label: str) -> None:
    """Write a node's name outwards from it; that of the root, in the middle, above it."""
    radius, angle = place
    if radius == 0:
        halo = [withStroke(linewidth=2, foreground="white")]
        ax.text(0, GAP, label, ha="center", va="bottom", fontsize=FONT_SIZE, path_effects=halo)
        return
    turned = np.degrees(angle)
    flipped = 90 < turned < 270
    x, y = _point(radius + GAP, angle)
    ax.text(
        x,
        y,
        label,
        rotation=turned - 180 if flipped else turned,
        rotation_mode="anchor",
        ha="right" if flipped else "left",
        va="center",
        fontsize=FONT_SIZE,
    )


def _places(parents: np.ndarray, shown: np.ndarray, outermost: float) -> dict[int, Polar]:
    """Return the radius and the angle of each node; a single root is in the middle."""
    children: dict[int, list[int]] = {int(node): [] for node in (-1, *shown)}
    for node in shown:
        children[int(parents[node])].append(int(node))
    roots = children[-1]
    around = children[roots[0]] if len(roots) == 1 else roots
    order = [node for root in around for node in _in_order(root, children)]
    angles = dict(zip(order, np.linspace(0, 2 * np.pi, len(order), endpoint=False), strict=True))
    circle, next_nodes, circles = 0, around, {}
    while next_nodes:
        circles.update(dict.fromkeys(next_nodes, circle))
        circle += 1
        next_nodes = [child for node in next_nodes for child in children[node]]
    first = max(LINE * len(order) / (2 * np.pi), outermost / circle)
    # as wide as the figure has room for, but for very long names
    step = max(LEAST_DEPTH, outermost - first) / max(circle - 1, 1)
    places = {node: (first + step * circles[node], float(angles[node])) for node in order}
    return places if len(roots) > 1 else {roots[0]: (0.0, 0.0), **places}


def _in_order(node: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the nodes of a branch, each between the two halves of its own branches."""
    branches = [_in_order(child, children) for child in children[node]]
    before, after = branches[: len(branches) // 2], branches[len(branches) // 2 :]
    return [*chain.from_iterable(before), node, *chain.from_iterable(after)]


def _curve(parent: Polar, node: Polar) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve that leaves the parent along its circle, and arrives straight at the node."""
    (inner, start), (outer, end) = parent, node
    if inner == 0:
        start = end
    return inner + (outer - inner) * WAY**2, start + (end - start) * (2 * WAY - WAY**2)


def _point(radius: float | np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """Return the Cartesian coordinates of points, shape ``(..., 2)``."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
