r"""How stable the components of a mixture are: whether other observations would give them as well.

The latents are resampled with replacement, and groups are found in each sample anew. A component
``k`` with the responsibilities ``r_k`` is as stable as it is found again, in the mean over samples:

.. math:: s_k = \operatorname{mean}_b \max_j J(r_k, g_j^b), \qquad
          J(r, g) = \frac{\sum_i \min(r_i, g_i)}{\sum_i \max(r_i, g_i)},

with the groups ``g^b`` of sample ``b`` and the Jaccard coefficient ``J`` over its points (Hennig
2007, "Cluster-wise assessment of cluster stability", for memberships that need not be 0 or 1). It
is 1 for a component that every sample finds. Below about 0.6 a component is a matter of chance.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from vae4counts.models.priors.clustering import k_means, tied_mixture

RESAMPLES = 15
# More points do not change the stability much.
MAX_POINTS = 4000
# Components that hold a smaller share are not looked for.
MIN_SHARE = 0.005


def component_stability(
    points: np.ndarray, shares: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> np.ndarray:
    """Return the stability of each component, from 0 to 1; 0 for empty ones.

    Args:
        points: A draw of the latents of each observation, shape ``(N, L)``.
        shares: The components' responsibilities for them, shape ``(N, K)``.
        seed: Seed of the samples.
        resamples: Number of samples.

    Returns:
        Shape ``(K,)``.
    """
    random = np.random.default_rng(seed)
    points = points.astype(np.float64)  # covariances of float32 may not be positive definite
    if len(points) > MAX_POINTS:
        chosen = random.choice(len(points), MAX_POINTS, replace=False)
        points, shares = points[chosen], shares[chosen]
    held = shares.mean(0) > MIN_SHARE
    found = np.zeros(shares.shape[1])
    agreement = np.zeros(held.sum())
    # on arrays of this size several threads take several times as long as one
    with threadpool_limits(1):
        for number in range(resamples):
            sample = random.integers(0, len(points), len(points))
            start = k_means(points[sample], held.sum(), seed + number, starts=1)
            _, groups = tied_mixture(points[sample], start)
            agreement += jaccard(shares[np.ix_(sample, held)], groups).max(1)
    found[held] = agreement / resamples
    return found


def jaccard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Jaccard coefficients of two groupings of the same observations.

    Args:
        first: The share of each group in each observation, shape ``(N, K)``.
        second: The same of other groups, shape ``(N, M)``.

    Returns:
        Shape ``(K, M)``, from 0 for disjoint groups to 1 for equal ones.
    """
    sizes = second.sum(0)
    found = np.empty((first.shape[1], second.shape[1]))
    for k, own in enumerate(first.T):
        common = np.minimum(own[:, None], second).sum(0)
        union = own.sum() + sizes - common
        found[k] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return found
