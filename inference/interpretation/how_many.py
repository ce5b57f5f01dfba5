"""How many groups there are: what mixtures of more and more Gaussians gain in a latent space."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd

from vae4counts.data import DataError
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.posterior.stability import component_stability
from vae4counts.models.priors.clustering import overlaps

NUMBERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
# Observations that mixtures are fitted to, and of those that they are measured on.
MAX_FITTED, MAX_MEASURED = 4000, 2000
# The share of the observations that mixtures are fitted to.
FITTED_SHARE = 0.7
# Starts of EM for each number of groups, and samples that tell how stable they are.
EM_STARTS = 3
RESAMPLES = 5
FEWEST = 10


def how_many_groups(pair: PairOnData, numbers: Iterable[int] = NUMBERS) -> pd.DataFrame:
    r"""Tell what speaks for each number of groups, from the latents of the observations alone.

    Mixtures of Gaussians are fitted to draws of the latents of some observations, and measured on
    those of others. Reconstruction and entropy of q(z | x) are the same for all of them, so that
    the mean log-density of the draws tells how the ELBO would change with the prior. The Gaussians
    of a mixture share a full covariance, which a decoder can undo. It takes seconds; no model is
    fitted again. Look for the number from which on ``nats`` hardly grows, and before ``stability``
    falls and ``overlap`` rises.

    Args:
        pair: A pair and data.
        numbers: Numbers of groups; those that are too many for the data are left out.

    Returns:
        A row for each number: ``nats``, the ELBO above that of one group, in nats per observation,
        and its standard error ``nats_se``; ``overlap``, the largest overlap of two groups, 0 to 1
        (see `vae4counts.models.priors.clustering.overlaps`); ``stability``, that of the least
        stable group, and ``mean_stability`` (see `component_stability`); ``smallest``, the share of
        the smallest group.

    Raises:
        DataError: There are fewer than 10 observations.
        NotInModelError: The model has no latent space.
    """
    n = len(pair.counts)
    if n < FEWEST:
        raise DataError(f"there are {n} observations: groups are counted among {FEWEST} or more")
    points = pair.points().double().cpu().numpy()
    order = np.random.default_rng(0).permutation(n)
    n_fitted = int(FITTED_SHARE * n)
    fitted, measured = (
        points[order[:n_fitted][:MAX_FITTED]],
        points[order[n_fitted:][:MAX_MEASURED]],
    )
    found = {k: _mixture(fitted, measured, k) for k in sorted({1, *numbers}) if k < len(fitted) / 2}
    one = found[1][0]
    rows = {k: _row(fitted, density - one, shares) for k, (density, shares) in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("groups")


def _mixture(fitted: np.ndarray, measured: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit ``n`` Gaussians; return log-densities of other points, and responsibilities."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture  # 70 MB that only mixtures need
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(n, covariance_type="tied", n_init=EM_STARTS, random_state=0)
    # on arrays of this size several threads take several times as long as one
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # there may be few distinct points
        shares = mixture.fit(fitted).predict_proba(fitted)
        return mixture.score_samples(measured), shares


def _row(fitted: np.ndarray, gain: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    alike = overlaps(shares)
    np.fill_diagonal(alike, 0.0)
    stability = component_stability(fitted, shares, resamples=RESAMPLES)
    return {
        "nats": gain.mean(),
        "nats_se": gain.std() / len(gain) ** 0.5,
        "overlap": alike.max(),
        "stability": stability.min(),
        "mean_stability": stability.mean(),
        "smallest": shares.mean(0).min(),
    }
