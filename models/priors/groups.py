"""Groups of points for a mixture to start from."""

from __future__ import annotations

import warnings

import numpy as np

# So many times more Gaussians than groups, which are then merged.
FINER = 2
# Groups with a smaller share of the points are merged first.
SMALLEST = 0.01
# Groups that overlap more are one: 0 for groups apart, 1 for equal ones.
OVERLAP = 0.05


def k_means(points: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Membership of each point in ``n`` clusters by k-means++, 0 or 1, shape ``(N, n)``."""
    from sklearn.cluster import KMeans  # 70 MB that only mixtures need

    return np.eye(n)[KMeans(n, n_init=10, random_state=seed).fit(points).labels_]


def merged_gaussians(points: np.ndarray, n: int, seed: int, *, fewer: bool = False) -> np.ndarray:
    r"""Membership of points in groups that are dense inside and apart from each other.

    A mixture of more Gaussians than groups, all of one full covariance, is fitted by EM; then the
    two that overlap most are merged, again and again. The overlap of two with responsibilities
    ``r`` is, much as the cosine of the angle between these,

    .. math:: o_{jk} = \sum_i r_{ij} r_{ik} \Big/ \sqrt{\sum_i r_{ij} \sum_i r_{ik}}:

    what of the two the mixture cannot tell apart, seen from both sides (compare Hennig 2010 on
    merging Gaussians). k-means knows balls of one size alone: it cuts large groups and
    joins small ones. One covariance for all is what a decoder may turn and stretch any latents to.

    Args:
        points: Shape ``(N, L)``.
        n: Number of groups.
        seed: Seed of the starts of EM.
        fewer: Whether ``n``, of more groups than there are, is where merging starts, and not where
            it ends: it goes on while two overlap by more than 0.05, or one holds less than 1 % of
            the points.

    Returns:
        Shares that sum to 1, shape ``(N, n)``, or with fewer columns.
    """
    if n == 1:
        return np.ones((len(points), 1))
    from sklearn.exceptions import ConvergenceWarning  # 70 MB that only mixtures need
    from sklearn.mixture import GaussianMixture

    finer = n if fewer else min(FINER * n, len(points))
    mixture = GaussianMixture(finer, covariance_type="tied", n_init=4, random_state=seed)
    with warnings.catch_warnings():
        # near enough for a start; and points may be fewer than they seem
        warnings.simplefilter("ignore", ConvergenceWarning)
        shares = mixture.fit(points).predict_proba(points)
    while shares.shape[1] > 1:
        overlap = overlaps(shares)
        small = shares.mean(0) < SMALLEST
        if small.any():
            overlap[~small] = -1
        j, k = np.unravel_index(overlap.argmax(), overlap.shape)
        if shares.shape[1] <= n and not (fewer and (small.any() or overlap[j, k] > OVERLAP)):
            break
        shares[:, j] += shares[:, k]
        shares = np.delete(shares, k, axis=1)
    return shares


def overlaps(shares: np.ndarray) -> np.ndarray:
    """How far each two columns of shares ``(N, n)`` overlap, shape ``(n, n)``; 0 with itself."""
    sizes = np.maximum(shares.sum(0), 1e-12)
    overlap = shares.T @ shares / np.sqrt(np.outer(sizes, sizes))
    np.fill_diagonal(overlap, 0)
    return overlap
