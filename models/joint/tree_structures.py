"""Which hidden nodes a latent tree has, and which features are at them: learnt from counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.cluster.hierarchy import average
from scipy.spatial.distance import squareform
from torch import Tensor

from vae4counts.models.joint.cooccurrence import CoOccurrence, maximum_spanning_tree
from vae4counts.models.joint.hidden_variable import fit_hidden, information_with
from vae4counts.models.joint.tree import rooted

# Counts of 0, of 1, and of more than 1 are told apart to join features greedily.
STATES = 3
# Of the responsibilities of all groups of features, in float32: 1 GiB.
MOST_NUMBERS = 2**28

Structure = tuple[np.ndarray, np.ndarray]


def chow_liu_structure(tables: Iterable[Tensor], n_features: int, n_states: int) -> Structure:  # noqa: ARG001
    """Return the parent of each hidden node and the node of each feature: a node a feature.

    Args:
        tables: Counts, CSR, shape ``(B, G)`` each.
        n_features: Number ``G`` of features.
        n_states: Number of states of a hidden node.
    """
    information = _information(tables, n_features, n_states=2)
    return rooted(n_features, maximum_spanning_tree(information)), np.arange(n_features)


def binary_structure(tables: Iterable[Tensor], n_features: int, n_states: int) -> Structure:  # noqa: ARG001
    """Return the same for joins by average linkage, each a node. See `chow_liu_structure`."""
    information = _information(tables, n_features, n_states=2)
    distance = information.max() - information
    np.fill_diagonal(distance, 0)
    joined = average(squareform((distance + distance.T) / 2, checks=False))[:, :2].astype(np.int64)
    return _of_joins(joined)


def greedy_structure(tables: Iterable[Tensor], n_features: int, n_states: int) -> Structure:
    """Return the same for joins of what tells most of each other. See `chow_liu_structure`.

    Groups of features are states, of which each observation has responsibilities: at first its
    counts cut to 0, 1 and more. The two groups of largest mutual information are joined by a
    hidden variable that is fitted to them, and are replaced by it. All pairs of features are
    looked at once, and after each join the pairs of the new variable: a cost of ``n (G H)^2``.

    Raises:
        ValueError: The responsibilities of all observations take too much memory.
    """
    tables = list(tables)
    shares = _first_shares(tables, n_features, max(n_states, STATES))
    information = _information(tables, n_features, STATES)
    np.fill_diagonal(information, -np.inf)
    random = np.random.default_rng(0)
    number, joined = np.arange(n_features), np.empty((n_features - 1, 2), dtype=np.int64)
    for join in range(n_features - 1):
        first, second = np.unravel_index(information.argmax(), information.shape)
        joined[join] = number[first], number[second]
        number[first] = n_features + join
        shares[first] = fit_hidden(shares[first], shares[second], n_states, random)
        information[second] = information[:, second] = -np.inf
        found = information_with(shares[first], shares)
        found[np.isneginf(information[first])] = -np.inf  # itself, and what was joined before
        information[first] = information[:, first] = found
    return _of_joins(joined)


STRUCTURES = {
    "chow-liu": chow_liu_structure,
    "binary": binary_structure,
    "greedy": greedy_structure,
}


def _information(tables: Iterable[Tensor], n_features: int, n_states: int) -> np.ndarray:
    """Return the mutual information of all pairs of counts cut to states, shape ``(G, G)``."""
    seen = CoOccurrence(n_features, n_states)
    for counts in tables:
        seen.add(counts)
    return seen.mutual_information()


def _of_joins(joined: np.ndarray) -> Structure:
    """Return the structure of joins, each of two features or earlier joins (from ``G`` on)."""
    n = len(joined) + 1
    above = np.full(2 * n - 1, -1)
    above[joined] = np.arange(n - 1)[:, None]
    return above[n:], above[:n]


def _first_shares(tables: Sequence[Tensor], n_features: int, n_states: int) -> np.ndarray:
    """Return the states of all counts as indicators, float32, shape ``(G, n, H)``."""
    n = sum(len(counts) for counts in tables)
    if n * n_features * n_states > MOST_NUMBERS:
        raise ValueError(
            f"structure 'greedy' keeps {n_states} numbers for each of {n} observations and "
            f"{n_features} features, which is more than {MOST_NUMBERS}: take 'binary', fewer "
            "features or fewer observations"
        )
    shares = np.zeros((n_features, n, n_states), dtype=np.float32)
    start = 0
    for counts in tables:
        states = counts.to_dense().clamp_max(STATES - 1).long().cpu().numpy()
        rows = start + np.arange(len(states))
        shares[np.arange(n_features), rows[:, None], states] = 1
        start += len(states)
    return shares
