"""The tree of features that a model has found: its links, and the groups that they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vae4counts.models import FeatureTree, Model, NotInModelError


def feature_links(model: Model, features: Sequence[str]) -> pd.DataFrame:
    """Return the links of a model's tree of features, the closest first.

    Args:
        model: The model.
        features: Names of its features.

    Returns:
        A row a link: ``node`` and ``parent``, by the names of their features, and ``nats``, the
        mutual information of their states by the model.

    Raises:
        NotInModelError: The model has no tree of features.
    """
    tree = _tree(model)
    own = features_of_nodes(tree, features)
    names = [", ".join(each) or f"hidden {node}" for node, each in enumerate(own)]
    below = _links(tree)
    return pd.DataFrame(
        {
            "node": [names[node] for node in below],
            "parent": [names[node] for node in tree.parents[below]],
            "nats": tree.information[below],
        }
    )


def feature_groups(model: Model, features: Sequence[str], *, largest: int = 6) -> pd.DataFrame:
    """Return the groups of features that the closest links of a model's tree hold together.

    Links join features, the closest link first, unless a group of more than ``largest`` features
    would result. So read, regions of a circuit and branches of a latent tree have names, though
    most of their nodes are hidden.

    Args:
        model: The model.
        features: Names of its features.
        largest: Most features of a group, 2 or more.

    Returns:
        A row a group of 2 features or more: ``features``, their names; ``size``, their number;
        ``nats``, the sum of the mutual information of its links, by which the states of its nodes
        differ from independent ones (their total correlation). The largest sum first.

    Raises:
        NotInModelError: The model has no tree of features.
        ValueError: ``largest`` is below 2.
    """
    if largest < 2:
        raise ValueError(f"largest is {largest}: it must be 2 or more")
    tree = _tree(model)
    names = features_of_nodes(tree, features)
    sizes = np.array([len(each) for each in names])
    group, nats = np.arange(len(names)), np.zeros(len(names))
    for node in _links(tree):
        kept, joined = group[tree.parents[node]], group[node]
        if sizes[kept] + sizes[joined] <= largest:
            sizes[kept] += sizes[joined]
            nats[kept] += nats[joined] + tree.information[node]
            group[group == joined] = kept
    held = [g for g in np.unique(group) if sizes[g] > 1]
    members = [[name for node in np.flatnonzero(group == g) for name in names[node]] for g in held]
    table = pd.DataFrame(
        {"features": [", ".join(own) for own in members], "size": sizes[held], "nats": nats[held]}
    )
    return table.sort_values("nats", ascending=False, kind="stable", ignore_index=True)


def features_of_nodes(tree: FeatureTree, features: Sequence[str]) -> list[list[str]]:
    """Return the names of each node's own features: one, several or none."""
    names: list[list[str]] = [[] for _ in tree.parents]
    for feature, node in zip(features, tree.nodes, strict=True):
        names[node].append(str(feature))
    return names


def _tree(model: Model) -> FeatureTree:
    tree = model.feature_tree()
    if tree is None:
        raise NotInModelError(f"{model.title} has no tree of features")
    return tree


def _links(tree: FeatureTree) -> np.ndarray:
    """Return the lower ends of the links, that of the closest first."""
    below = np.flatnonzero(tree.parents >= 0)
    ends: np.ndarray = below[np.argsort(-tree.information[below], kind="stable")]
    return ends
