"""Groups of points at which a mixture starts whose components are classes, known of some points."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from .clustering import EM_STARTS, MIN_VARIANCE, merged_gaussians, tied_mixture

# From so many points of known class for each dimension on, their covariance is known well: ten
# observations, of three draws each.
POINTS_PER_DIMENSION = 30


def known_groups(points: np.ndarray, known: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Find groups of points, one for each class that some points are known to be of.

    Where many points of each class are known and there are no further groups, the classes are those
    of linear discriminant analysis: Gaussians at the means of their known points, which share a
    covariance. (Groups that the other points form as well would move away from the classes: there
    are more of them, and what they differ by most need not be the class.)

    Otherwise such Gaussians are fitted to all points by EM, in which the points of known class have
    no share in other Gaussians. It starts at the means of the classes, and for further groups at
    points far from all others, drawn as by k-means++ (Arthur & Vassilvitskii 2007) in units of the
    classes' deviation, several times; and also at the groups of `merged_gaussians`, each with the
    class that has most points in it. The likeliest mixture counts.

    Args:
        points: Shape ``(N, L)``.
        known: The class of each point, -1 where it is not known, shape ``(N,)``; each class from 0
            to the highest has a point.
        n: Number of groups, of which the first are the classes.
        seed: Seed of the draws.

    Returns:
        The share of each group in each point, summing to 1, shape ``(N, n)``.
    """
    from threadpoolctl import threadpool_limits

    n_classes, labelled = int(known.max()) + 1, known >= 0
    excluded = labelled[:, None] & (known[:, None] != np.arange(n))
    # on arrays of this size several threads take several times as long as one
    with threadpool_limits(1):
        scaled = points @ _whitening(points, known)
        centres = np.stack([scaled[known == k].mean(0) for k in range(n_classes)])
        if n == n_classes and labelled.sum() >= POINTS_PER_DIMENSION * points.shape[1]:
            sizes = np.bincount(known[labelled]) / labelled.sum()
            log_joint = np.log(sizes) - _distances(scaled, centres) / 2
            return _allowed(softmax(log_joint, axis=1), excluded)
        starts = [_of_classes(merged_gaussians(points, n, seed), known, n_classes)]
        for start in range(EM_STARTS if n > n_classes else 1):
            starts.append(_nearest(scaled, _with_far_points(scaled, centres, n, seed + start)))
        fits = (tied_mixture(points, _allowed(start, excluded), excluded) for start in starts)
        return max(fits, key=itemgetter(0))[1]


def _whitening(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The matrix that gives classes a unit covariance, shape ``(L, L)``.

    Their covariance is that of the points of known class about the means of their classes, drawn
    towards that of all points with the weight of ``L`` points, as few may be known.
    """
    n_latent = points.shape[1]
    everything = np.cov(points, rowvar=False).reshape(n_latent, n_latent)
    labelled = known >= 0
    own = known[labelled]
    means = np.stack([points[known == k].mean(0) for k in range(own.max() + 1)])
    away = points[labelled] - means[own]
    freedom = len(own) - len(means)
    covariance = (away.T @ away + n_latent * everything) / (freedom + n_latent)
    covariance[np.diag_indices(n_latent)] += MIN_VARIANCE
    return np.linalg.inv(np.linalg.cholesky(covariance)).T


def _with_far_points(points: np.ndarray, centres: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Add points to centres until there are ``n``, each in proportion to its squared distance."""
    random = np.random.default_rng(seed)
    while len(centres) < n:
        away = _distances(points, centres).min(1)
        total = away.sum()
        chosen = random.choice(len(points), p=away / total if total > 0 else None)
        centres = np.vstack([centres, points[chosen]])
    return centres


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Memberships of 0 or 1 in the nearest centres, shape ``(N, n)``."""
    return np.eye(len(centres))[_distances(points, centres).argmin(1)]


def _of_classes(shares: np.ndarray, known: np.ndarray, n_classes: int) -> np.ndarray:
    """Order groups so that the first are those with most points of each class, ``(N, n)``."""
    points_in = np.eye(n_classes)[known[known >= 0]].T @ shares[known >= 0]
    _, own = linear_sum_assignment(-points_in)
    rest = np.setdiff1d(np.arange(shares.shape[1]), own)
    return shares[:, [*own, *rest]]


def _allowed(shares: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Put the points of known class into their own groups alone, shape ``(N, n)``."""
    known = excluded.any(1, keepdims=True)
    return np.where(known, ~excluded, shares)


def _distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances, shape ``(N, n)``."""
    squares = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T
    return np.maximum(squares, 0.0)
