"""Groups of points at which a mixture starts."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np

# Numbers of Gaussians that are fitted for each group, before they are merged into groups.
GAUSSIANS_PER_GROUP = (1.25, 1.5, 1.75, 2.0)
# Starts of EM for each mixture: with 3 starts the groups depended more on the seed.
EM_STARTS = 9
# EM ends after so many steps, or when one gains less than this in nats per point.
MAX_EM_STEPS = 100
EM_TOLERANCE = 1e-3
# Added to all variances, so that groups of equal points have a density.
MIN_VARIANCE = 1e-6
# Groups with a smaller share of the points are merged first.
MIN_GROUP_SHARE = 0.01
# Groups that overlap more are counted as one. Disjoint groups overlap by 0, equal groups by 1.
MAX_OVERLAP = 0.055
# Numbers of Gaussians that are fitted to count groups, as fractions of the largest.
COUNTING_FRACTIONS = (2 / 3, 5 / 6, 1.0)


def k_means(points: np.ndarray, n: int, seed: int, starts: int = 10) -> np.ndarray:
    """Return the clusters of k-means++ as memberships of 0 or 1, shape ``(N, n)``.

    Args:
        points: Shape ``(N, L)``.
        n: Number of clusters.
        seed: Seed of the starts.
        starts: Number of starts, of which the best counts.
    """
    from sklearn.cluster import KMeans  # 70 MB that only mixtures need
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there may be few distinct points
        found = KMeans(n, n_init=starts, random_state=seed % 2**32).fit(points)
    return np.eye(n)[found.labels_]


def merged_gaussians(points: np.ndarray, n: int, seed: int) -> np.ndarray:
    r"""Find groups of points that are dense and separated from each other.

    A mixture of more Gaussians than groups, which share a full covariance, is fitted by EM; then
    the two Gaussians that overlap most are merged until ``n`` groups are left. The overlap of two
    Gaussians with responsibilities ``r`` is

    .. math:: o_{jk} = \sum_i r_{ij} r_{ik} \Big/ \sqrt{\sum_i r_{ij} \sum_i r_{ik}},

    the part of both that the mixture cannot tell apart (compare Hennig 2010 on merging Gaussians).
    k-means would assume balls of one size: it splits large groups and joins small ones. A shared
    covariance is no restriction, since a decoder can rotate and scale the latents.

    The result of one mixture depends on its number of Gaussians and on the start of EM. So several
    mixtures are merged into groups, and their consensus counts: the Gaussians of the finest
    mixtures are merged once more, now by how far all groupings agree that their points belong
    together (see `agreement`; compare Strehl & Ghosh 2002 on cluster ensembles).

    Args:
        points: Shape ``(N, L)``.
        n: Number of groups.
        seed: Seed of the starts of EM.

    Returns:
        The share of each group in each point, summing to 1, shape ``(N, n)``.
    """
    if n == 1:
        return np.ones((len(points), 1))
    views: list[np.ndarray] = []
    for times in GAUSSIANS_PER_GROUP:
        mixtures = _mixtures(points, round(times * n), seed)
        finest = max(mixtures, key=itemgetter(0))[1]
        views += [merged(shares, n, overlaps) for _, shares in mixtures]
    return merged(finest, n, lambda shares: agreement(shares, views))


def count_groups(points: np.ndarray, most: int, seed: int) -> int:
    """Return the number of groups that do not overlap.

    Mixtures of ``most`` Gaussians and of somewhat fewer, each the best of several starts of EM, are
    merged as in `merged_gaussians` until no two groups overlap by more than 0.055 and none holds
    less than 1 % of the points. The finest mixtures split long groups and the coarsest join groups,
    so the median of their numbers of groups is returned.

    Args:
        points: Shape ``(N, L)``.
        most: A number far above that of the groups: three times as many is a good choice.
        seed: Seed of the starts of EM.
    """
    counts = []
    for fraction in COUNTING_FRACTIONS:
        best = max(_mixtures(points, math.ceil(fraction * most), seed), key=itemgetter(0))[1]
        counts.append(merged(best, 1, overlaps, MAX_OVERLAP).shape[1])
    return statistics.median_low(counts)


def merged(
    shares: np.ndarray, n: int, likeness: Callable[[np.ndarray], np.ndarray], least: float = -1
) -> np.ndarray:
    """Merge the two groups that are most alike until ``n`` are left.

    Groups of less than 1 % of the points are merged first.

    Args:
        shares: The share of each group in each point, summing to 1, shape ``(N, m)``.
        n: Number of groups to stop at.
        likeness: From shares to the likeness of each two groups, shape ``(m, m)``.
        least: Groups that are not more alike than this are not merged.

    Returns:
        Shape ``(N, n)``, or more columns if merging stopped at groups that are not alike.
    """
    shares = shares.copy()
    while shares.shape[1] > n:
        alike = likeness(shares)
        np.fill_diagonal(alike, -np.inf)
        small = shares.mean(0) < MIN_GROUP_SHARE
        if small.any():
            alike[~small] = -np.inf
        j, k = np.unravel_index(alike.argmax(), alike.shape)
        if alike[j, k] <= least and not small.any():
            break
        shares[:, j] += shares[:, k]
        shares = np.delete(shares, k, axis=1)
    return shares


def overlaps(shares: np.ndarray) -> np.ndarray:
    """Return the overlap of each two columns of shares ``(N, n)``, shape ``(n, n)``."""
    sizes = np.maximum(shares.sum(0), 1e-12)
    return shares.T @ shares / np.sqrt(np.outer(sizes, sizes))


def agreement(shares: np.ndarray, views: Sequence[np.ndarray]) -> np.ndarray:
    """Return how far other groupings agree that two groups belong together.

    Args:
        shares: Shape ``(N, m)``.
        views: Other groupings of the same points, each of shape ``(N, k)``.

    Returns:
        The cosine of two groups' memberships in the groups of a view, averaged over the views,
        shape ``(m, m)``.
    """
    total = np.zeros((shares.shape[1],) * 2)
    for view in views:
        memberships = shares.T @ view
        memberships /= np.maximum(np.linalg.norm(memberships, axis=1, keepdims=True), 1e-12)
        total += memberships @ memberships.T
    return total / len(views)


def tied_mixture(
    points: np.ndarray, shares: np.ndarray, excluded: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    r"""Fit a mixture of Gaussians that share one full covariance, by EM.

    It does what scikit-learn's ``GaussianMixture(covariance_type="tied")`` does, in a fraction of
    the time: after ``y = C^T x``, with ``C C^T`` the inverse covariance, the log-density of all
    Gaussians at all points is ``y . C^T m - |C^T m|^2 / 2`` and terms that they share, which is one
    product of matrices.

    Args:
        points: Shape ``(N, L)``.
        shares: The share of each Gaussian in each point to start from, shape ``(N, n)``.
        excluded: Which Gaussians each point is known not to be of, shape ``(N, n)``.

    Returns:
        The mean log-likelihood per point, in nats, and the responsibilities, shape ``(N, n)``.
    """
    n_points, n_latent = points.shape
    second = points.T @ points
    before = -math.inf
    for _ in range(MAX_EM_STEPS):
        sizes = shares.sum(0) + 1e-12
        means = shares.T @ points / sizes[:, None]
        covariance = (second - (means.T * sizes) @ means) / n_points
        covariance[np.diag_indices(n_latent)] += MIN_VARIANCE
        root = np.linalg.inv(np.linalg.cholesky(covariance)).T
        y, m = points @ root, means @ root
        shares = y @ m.T + (np.log(sizes / n_points) - (m**2).sum(1) / 2)
        if excluded is not None:
            shares[excluded] = -np.inf
        top = shares.max(1, keepdims=True)
        np.exp(np.subtract(shares, top, out=shares), out=shares)
        total = shares.sum(1, keepdims=True)
        shares /= total
        shared = np.log(np.diag(root)).sum() - n_latent / 2 * math.log(2 * math.pi)
        mean = float((np.log(total) + top).mean() - (y**2).sum(1).mean() / 2 + shared)
        if abs(mean - before) < EM_TOLERANCE:
            break
        before = mean
    return mean, shares


def _mixtures(points: np.ndarray, n: int, seed: int) -> list[tuple[float, np.ndarray]]:
    """Fit mixtures of Gaussians of one covariance by EM, from several starts.

    Args:
        points: Shape ``(N, L)``.
        n: Number of Gaussians, limited to the number of points.
        seed: Seed of the starts.

    Returns:
        For each start the mean log-likelihood and the responsibilities, shape ``(N, n)``.
    """
    from threadpoolctl import threadpool_limits

    n = min(n, len(points))
    # on arrays of this size several threads take several times as long as one
    with threadpool_limits(1):
        starts = (k_means(points, n, seed + start, starts=1) for start in range(EM_STARTS))
        return [tied_mixture(points, start) for start in starts]
