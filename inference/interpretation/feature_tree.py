"""The tree of features that a model has found."""

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
    tree = model.feature_tree()
    if tree is None:
        raise NotInModelError(f"{model.title} has no tree of features")
    names = node_names(tree, features)
    below = np.flatnonzero(tree.parents >= 0)
    below = below[np.argsort(-tree.information[below], kind="stable")]
    return pd.DataFrame(
        {
            "node": [names[node] or f"hidden {node}" for node in below],
            "parent": [names[node] or f"hidden {node}" for node in tree.parents[below]],
            "nats": tree.information[below],
        }
    )


def node_names(tree: FeatureTree, features: Sequence[str]) -> list[str]:
    """Return the names of each node's features, joined; empty for a node without."""
    names: list[list[str]] = [[] for _ in tree.parents]
    for feature, node in zip(features, tree.nodes, strict=True):
        names[node].append(str(feature))
    return [", ".join(own) for own in names]
