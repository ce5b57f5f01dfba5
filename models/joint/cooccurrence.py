"""How often states of two features occur together, and which tree explains most of it."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, hstack
from torch import Tensor

# Rows of a table of all pairs of features that are worked on at once.
BLOCK = 512


class CoOccurrence:
    """Counts cut to ``K`` states, 0, 1, ... and "K-1 or more", and how often they occur together.

    Only states above 0 are counted, by products of sparse matrices of indicators; the others
    follow by subtraction.

    Args:
        n_features: Number ``G`` of features.
        n_states: Number ``K`` of states.

    Attributes:
        n: Number of observations.
        above_zero: How often states above 0 of two features occur together, float64, shape
            ``((K-1) G, (K-1) G)``, all features of a state one after the other.
    """

    def __init__(self, n_features: int, n_states: int) -> None:
        self.n_features, self.n_states, self.n = n_features, n_states, 0
        size = (n_states - 1) * n_features
        self.above_zero = np.zeros((size, size), dtype=np.float32)

    def add(self, counts: Tensor) -> None:
        """Add observations, CSR, shape ``(B, G)``."""
        matrix = csr_array(
            (
                counts.values().cpu().numpy(),
                counts.col_indices().cpu().numpy(),
                counts.crow_indices().cpu().numpy(),
            ),
            shape=tuple(counts.shape),
        )
        state = np.minimum(matrix.data, self.n_states - 1)
        indicators = []
        for k in range(1, self.n_states):
            here = matrix.copy()
            here.data = (state == k).astype(np.float32)
            here.eliminate_zeros()
            indicators.append(here)
        stacked = hstack(indicators, format="csr")
        together = (stacked.T.tocsr() @ stacked).tocoo()
        self.above_zero[together.row, together.col] += together.data
        self.n += counts.shape[0]

    @property
    def singles(self) -> np.ndarray:
        """How often each feature has each state, shape ``(K, G)``."""
        above = self.above_zero.diagonal().reshape(self.n_states - 1, -1).astype(np.float64)
        return np.concatenate([self.n - above.sum(0, keepdims=True), above])

    def pairs(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return how often the states of pairs of features occur together.

        Args:
            first: Positions of features, any shape.
            second: Positions of features, broadcastable with these.

        Returns:
            Shape ``(K, K, *shape)``, a row for each state of the first.
        """
        k, g = self.n_states, self.n_features
        first, second = np.broadcast_arrays(first, second)
        found = np.zeros((k, k, *first.shape))
        for a in range(1, k):
            for b in range(1, k):
                found[a, b] = self.above_zero[(a - 1) * g + first, (b - 1) * g + second]
        singles = self.singles
        found[1:, 0] = singles[1:, first] - found[1:, 1:].sum(1)
        found[0, 1:] = singles[1:, second] - found[1:, 1:].sum(0)
        found[0, 0] = self.n - found.sum((0, 1))
        return found

    def mutual_information(self, pseudo_count: float = 0.0) -> np.ndarray:
        """Return the mutual information of all pairs of features, nats, shape ``(G, G)``.

        Args:
            pseudo_count: Added to how often each pair of states occurs.
        """
        columns = np.arange(self.n_features)
        found = np.empty((self.n_features, self.n_features))
        for rows in np.array_split(columns, max(1, -(-len(columns) // BLOCK))):
            joint = self.pairs(rows[:, None], columns[None, :]) + pseudo_count
            joint /= joint.sum((0, 1))
            apart = joint.sum(1)[:, None] * joint.sum(0)[None]
            ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
            found[rows] = (joint * np.log(ratio)).sum((0, 1))
        return found


def maximum_spanning_tree(weights: np.ndarray) -> np.ndarray:
    """Return the edges of the heaviest tree over all nodes (Prim 1957), in ``O(N^2)``.

    Args:
        weights: A symmetric matrix, shape ``(N, N)``.

    Returns:
        Shape ``(N - 1, 2)``.
    """
    n = len(weights)
    best, nearest = weights[0].copy(), np.zeros(n, dtype=np.int64)
    is_out = np.ones(n, dtype=bool)
    is_out[0] = False
    edges = np.empty((n - 1, 2), dtype=np.int64)
    for i in range(n - 1):
        new = np.where(is_out, best, -np.inf).argmax()
        edges[i] = nearest[new], new
        is_out[new] = False
        is_nearer = is_out & (weights[new] > best)
        best[is_nearer], nearest[is_nearer] = weights[new][is_nearer], new
    return edges
