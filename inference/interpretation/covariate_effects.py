"""What covariates do to the features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.models import NotInModelError


@torch.no_grad()
def covariate_effects(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Return what each level of a covariate does to each feature, for decoders of any kind.

    .. math:: E_z[\log_2 \rho_j(z, c) - \sum_{c'} \pi_{c'} \log_2 \rho_j(z, c')]

    over draws ``z`` of the aggregate posterior, with the shares ``pi`` of the levels in the
    training observations: the log2 fold change against the average level. For a continuous
    covariate it is that of one standard deviation above the mean against the mean. Other covariates
    are held at ``pair.at``, and averaged over otherwise. For a linear decoder with one covariate
    these are its offsets, up to a constant that all features share.

    Args:
        pair: A pair and data.
        num_points: Draws over which the effect is averaged.

    Returns:
        Features x levels, columns ``"batch=A"`` and the like, and the names of continuous ones.

    Raises:
        NotInModelError: The model has no covariates, or no latent space.
    """
    covariates = pair.model.covariates
    if not covariates:
        raise NotInModelError(f"{pair.model.title} has no covariates")
    points = pair.cloud(np.ones(len(pair.counts), dtype=bool), num_points)

    def log_rates(name: str, value: str | float) -> np.ndarray:
        """Mean log2 rates with one covariate held, shape ``(G,)``."""
        held = pair.with_value(name, value)
        rates = (held.rates(z, 1.0) for z in points.split(50))
        sums = [pair.comparable(each).double().sum(0) for each in rates]
        return (torch.stack(sums).sum(0) / len(points)).cpu().numpy()

    effects: dict[str, np.ndarray] = {}
    for factor in covariates.factors:
        means = np.stack([log_rates(factor.name, level) for level in factor.levels])
        means -= covariates.shares(factor.name) @ means
        effects |= {
            f"{factor.name}={level}": row for level, row in zip(factor.levels, means, strict=True)
        }
    for number in covariates.numbers:
        above = log_rates(number.name, number.mean + number.deviation)
        effects[number.name] = above - log_rates(number.name, number.mean)
    return pd.DataFrame(effects, index=pd.Index(pair.features, name="feature"))
