"""Groups of points for a mixture to start from."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np

# So many times more Gaussians than groups, which are then merged.
FINER = (1.25, 1.5, 1.75, 2.0)
# Starts of EM for each: with 3 of them the groups hung more on the seed.
STARTS = 9
# Groups with a smaller share of the points are merged first.
SMALLEST = 0.01
# Groups that overlap more are one: 0 for groups apart, 1 for equal ones.
OVERLAP = 0.055
# Where groups are counted: parts of the number of Gaussians that was asked for.
COARSER = (2 / 3, 5 / 6, 1.0)


def k_means(points: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Membership of each point in ``n`` clusters by k-means++, 0 or 1, shape ``(N, n)``."""
    from sklearn.cluster import KMeans  # 70 MB that only mixtures need

    return np.eye(n)[KMeans(n, n_init=10, random_state=seed).fit(points).labels_]


def merged_gaussians(points: np.ndarray, n: int, seed: int) -> np.ndarray:
    r"""Membership of points in groups that are dense inside and apart from each other.

    A mixture of more Gaussians than groups, all of one full covariance, is fitted by EM; then the
    two that overlap most are merged, again and again. The overlap of two with responsibilities
    ``r`` is, much as the cosine of the angle between these,

    .. math:: o_{jk} = \sum_i r_{ij} r_{ik} \Big/ \sqrt{\sum_i r_{ij} \sum_i r_{ik}}:

    what of the two the mixture cannot tell apart, seen from both sides (compare Hennig 2010 on
    merging Gaussians). k-means knows balls of one size alone: it cuts large groups and
    joins small ones. One covariance for all is what a decoder may turn and stretch any latents to.

    How much finer the mixture is, and where EM starts, is chance, and so some mixtures are merged,
    and the groups are what most of them agree on: the finest one's Gaussians are merged once more,
    now those two whose points the merged ones put in the same groups (the cosine of their mean
    memberships, on average over all; compare Strehl & Ghosh 2002 on cluster ensembles).

    Args:
        points: Shape ``(N, L)``.
        n: Number of groups.
        seed: Seed of the starts of EM.

    Returns:
        Shares that sum to 1, shape ``(N, n)``.
    """
    if n == 1:
        return np.ones((len(points), 1))
    views: list[np.ndarray] = []
    for times in FINER:
        mixtures = _mixtures(points, round(times * n), seed)
        finest = max(mixtures, key=itemgetter(0))[1]
        views += [merged(shares, n, overlaps) for _, shares in mixtures]
    return merged(finest, n, lambda shares: agreement(shares, views))


def count_groups(points: np.ndarray, most: int, seed: int) -> int:
    """How many groups there are that do not overlap.

    Mixtures of ``most`` Gaussians and of somewhat fewer, each the best of some starts of EM, are
    merged as by `merged_gaussians`, until no two groups overlap by more than 0.055 and none holds
    less than 1 % of the points: the finest mixtures cut long groups, the coarsest join groups. The
    median of the numbers of groups counts.

    Args:
        points: Shape ``(N, L)``.
        most: More groups than there are, by far: three times as many are a good choice.
        seed: Seed of the starts of EM.
    """
    counts = []
    for part in COARSER:
        best = max(_mixtures(points, math.ceil(part * most), seed), key=itemgetter(0))[1]
        counts.append(merged(best, 1, overlaps, OVERLAP).shape[1])
    return statistics.median_low(counts)


def merged(
    shares: np.ndarray, n: int, likeness: Callable[[np.ndarray], np.ndarray], least: float = -1
) -> np.ndarray:
    """Adds up the columns of two groups that are most alike, again and again.

    Groups of less than 1 % of the points go first.

    Args:
        shares: Shares that sum to 1, shape ``(N, m)``.
        n: Number of groups to stop at.
        likeness: Says of shares how alike each two groups are, shape ``(m, m)``.
        least: Groups that are less alike are not merged.

    Returns:
        Shape ``(N, n)``, or with more columns for groups that are not alike.
    """
    shares = shares.copy()
    while shares.shape[1] > n:
        alike = likeness(shares)
        np.fill_diagonal(alike, -np.inf)
        small = shares.mean(0) < SMALLEST
        if small.any():
            alike[~small] = -np.inf
        j, k = np.unravel_index(alike.argmax(), alike.shape)
        if alike[j, k] <= least and not small.any():
            break
        shares[:, j] += shares[:, k]
        shares = np.delete(shares, k, axis=1)
    return shares


def overlaps(shares: np.ndarray) -> np.ndarray:
    """How far each two columns of shares ``(N, n)`` overlap, shape ``(n, n)``."""
    sizes = np.maximum(shares.sum(0), 1e-12)
    return shares.T @ shares / np.sqrt(np.outer(sizes, sizes))


def agreement(shares: np.ndarray, views: Sequence[np.ndarray]) -> np.ndarray:
    """How far other groupings put the same points of each two groups together.

    Args:
        shares: Shape ``(N, m)``.
        views: The other groupings of the same points.

    Returns:
        Cosines of the groups' memberships in a view, means over views, shape ``(m, m)``.
    """
    total = np.zeros((shares.shape[1],) * 2)
    for view in views:
        memberships = shares.T @ view
        memberships /= np.maximum(np.linalg.norm(memberships, axis=1, keepdims=True), 1e-12)
        total += memberships @ memberships.T
    return total / len(views)


def _mixtures(points: np.ndarray, n: int, seed: int) -> list[tuple[float, np.ndarray]]:
    """Mixtures of Gaussians of one covariance by EM from some starts.

    Args:
        points: Shape ``(N, L)``.
        n: Number of Gaussians; no more than there are points.
        seed: Seed of the starts.

    Returns:
        For each start the mean log-likelihood, and the responsibilities, shape ``(N, n)``.
    """
    from sklearn.exceptions import ConvergenceWarning  # 70 MB that only mixtures need
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    found = []
    # arrays so small that threads which wait for each other take several times as long
    with warnings.catch_warnings(), threadpool_limits(1):
        # near enough for a start; and points may be fewer than they seem
        warnings.simplefilter("ignore", ConvergenceWarning)
        for start in range(STARTS):
            mixture = GaussianMixture(
                min(n, len(points)), covariance_type="tied", random_state=(seed + start) % 2**32
            )
            shares = mixture.fit(points).predict_proba(points)
            found.append((mixture.lower_bound_, shares))
    return found
