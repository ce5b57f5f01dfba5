"""A tree of features, as a model has found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FeatureTree:
    """A tree with features at its nodes.

    Attributes:
        parents: The parent of each node, -1 for the root, shape ``(N,)``.
        nodes: The node of each feature, shape ``(G,)``; a node may have one, several or none.
        information: The mutual information of each node and its parent in nats, by the model; 0 for
            the root. Shape ``(N,)``.
    """

    parents: np.ndarray
    nodes: np.ndarray
    information: np.ndarray
