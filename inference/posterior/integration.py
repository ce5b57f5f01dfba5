"""How well batches are mixed in a latent space while classes stay apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

# Neighbours of an observation, of which the local index weights about a third: Korsunsky et al.
# (2019) use a perplexity of 30. Of few observations a tenth, which are still neighbours.
NEIGHBOURS, FEWEST_NEIGHBOURS = 90, 15
# Neighbours in the graph whose connectivity is measured, as scanpy's and scib's.
GRAPH_NEIGHBOURS = 15
# Silhouettes need the distances between all observations: of more so many are taken.
MOST_POINTS = 10_000
# Halvings of the search for the width of a neighbourhood.
STEPS = 50


def integration_scores(
    points: np.ndarray, batches: np.ndarray, classes: np.ndarray | None
) -> dict[str, float]:
    """Return how well batches are mixed, and how well classes are kept apart.

    Args:
        points: Latents, shape ``(N, L)``.
        batches: The batch of each observation, shape ``(N,)``.
        classes: The class of each, NaN where none is known; None for no classes.

    Returns:
        ``ilisi``, and with classes ``clisi``, ``batch_silhouette`` and ``graph_connectivity``
        (those that are defined: with two batches or classes at least). All lie between 0 and 1,
        which is best.
    """
    scores = {"ilisi": ilisi(points, batches)}
    known = np.zeros(0) if classes is None else ~pd.isna(classes)
    if classes is not None and known.sum() > 1:
        points, batches, classes = points[known], batches[known], classes[known].astype(str)
        scores |= {
            "clisi": clisi(points, classes),
            "batch_silhouette": batch_silhouette(points, batches, classes),
            "graph_connectivity": graph_connectivity(points, classes),
        }
    return {name: score for name, score in scores.items() if np.isfinite(score)}


def ilisi(points: np.ndarray, batches: np.ndarray) -> float:
    r"""Return the median local inverse Simpson's index of the batches, scaled to 0 to 1.

    .. math:: \mathrm{iLISI} = \frac{\mathrm{median}_i \, \mathrm{LISI}_i - 1}{B - 1}

    1 where every neighbourhood holds the ``B`` batches in equal shares, 0 where it holds one
    (Korsunsky et al. 2019; Luecken et al. 2022). NaN for a single batch.
    """
    n = len(np.unique(batches))
    return float((np.median(lisi(points, batches)) - 1) / (n - 1)) if n > 1 else np.nan


def clisi(points: np.ndarray, classes: np.ndarray) -> float:
    """Return 1 minus the scaled index of the classes: 1 where neighbours are of one class.

    See `ilisi`. NaN for a single class.
    """
    n = len(np.unique(classes))
    return float((n - np.median(lisi(points, classes))) / (n - 1)) if n > 1 else np.nan


def lisi(points: np.ndarray, groups: np.ndarray) -> np.ndarray:
    r"""Return the local inverse Simpson's index: the effective number of groups around each point.

    .. math:: \mathrm{LISI}_i = 1 \Big/ \sum_g \Big(\sum_{j \in g} p_{ij}\Big)^2, \qquad
              p_{ij} \propto \exp(-\beta_i d_{ij}),

    over the 90 nearest neighbours (of fewer than 900 points, a tenth of them, 15 at least), with
    the width ``beta`` of each neighbourhood such that the perplexity of ``p`` is a third of their
    number (Korsunsky et al. 2019).

    Args:
        points: Shape ``(N, L)``.
        groups: The group of each point, shape ``(N,)``.

    Returns:
        Shape ``(N,)``, from 1 to the number of groups.
    """
    n = min(NEIGHBOURS, max(FEWEST_NEIGHBOURS, len(points) // 10), len(points) - 1)
    distances, neighbours = _nearest(points, n)
    weights = _weights(distances, distances.shape[1] / 3)
    codes = np.unique(groups, return_inverse=True)[1]
    shares = [(weights * (codes[neighbours] == code)).sum(1) for code in range(codes.max() + 1)]
    return 1 / np.square(shares).sum(0)


def batch_silhouette(points: np.ndarray, batches: np.ndarray, classes: np.ndarray) -> float:
    """Return how little batches are told apart within classes: ``1 - |silhouette|``, averaged.

    Averaged over the observations of a class, then over the classes of two or more batches
    (Luecken et al. 2022): 1 where batches overlap. NaN if no class has two batches. Of more than
    10,000 observations so many are taken at random.
    """
    from sklearn.metrics import silhouette_samples

    if len(points) > MOST_POINTS:
        chosen = np.random.default_rng(0).permutation(len(points))[:MOST_POINTS]
        points, batches, classes = points[chosen], batches[chosen], classes[chosen]
    means = []
    for each in np.unique(classes):
        rows = classes == each
        if 1 < len(np.unique(batches[rows])) < rows.sum():
            means.append(1 - np.abs(silhouette_samples(points[rows], batches[rows])).mean())
    return float(np.mean(means)) if means else np.nan


def graph_connectivity(points: np.ndarray, classes: np.ndarray) -> float:
    """Return the share of each class in its largest connected part, averaged over classes.

    Of the directed graph from each point to its 15 nearest neighbours, parts of which are
    connected if one gets from every point to every other (Luecken et al. 2022): 1 where every class
    is one piece, however many batches it is in.
    """
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(points, min(GRAPH_NEIGHBOURS, len(points) - 1))
    shares = []
    for each in np.unique(classes):
        rows = np.flatnonzero(classes == each)
        parts = connected_components(graph[rows][:, rows], connection="strong")[1]
        shares.append(np.bincount(parts).max() / len(rows))
    return float(np.mean(shares))


def _nearest(points: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and positions of each point's nearest other points, ``(N, n)`` each."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=n).fit(points).kneighbors()


def _weights(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Return weights that sum to 1 in each row and have a certain perplexity, by bisection."""
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    beta = np.ones(len(distances))
    weights = np.empty_like(distances)
    for _ in range(STEPS):
        weights = np.exp(-beta[:, None] * (distances - distances[:, :1]))
        weights /= weights.sum(1, keepdims=True)
        logs = np.log(np.maximum(weights, np.finfo(float).tiny))
        is_wide = -(weights * logs).sum(1) > np.log(perplexity)
        low, high = np.where(is_wide, beta, low), np.where(is_wide, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + high) / 2)
    return weights
