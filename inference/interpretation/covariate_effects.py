"""What covariates do to the features, and how well that is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.models import NotInModelError
from vae4counts.models.covariates import Covariates

# The largest tensor of information matrices, in numbers: 256 MiB in float64.
INFORMATION_NUMBERS = 2**25
# Of the mean information, so that what the observations say nothing of has a very large error.
SMALLEST_INFORMATION = 1e-9


@torch.no_grad()
def covariate_effects(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Return what each level of a covariate does to each feature, for decoders of any kind.

    .. math:: E_z[\log_2 \rho_j(z, c) - \sum_{c'} \pi_{c'} \log_2 \rho_j(z, c')]

    over draws ``z`` of the aggregate posterior, with the shares ``pi`` of the levels in the
    training observations: the log2 fold change against the average level. For a continuous
    covariate it is that of one standard deviation above the mean against the mean. Other covariates
    are held at ``pair.at``, and averaged over otherwise. For a linear decoder with one covariate
    these are its offsets, up to a constant that all features share. `covariate_errors` tells how
    far they are known.

    Args:
        pair: A pair and data.
        num_points: Draws over which the effect is averaged.

    Returns:
        Features x levels, columns ``"batch=A"`` and the like, and the names of continuous ones.

    Raises:
        NotInModelError: The model has no covariates, or no latent space.
    """
    covariates = _covariates(pair)
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


@torch.no_grad()
def covariate_errors(
    pair: PairOnData, *, num_observations: int = 5000, num_samples: int = 10
) -> pd.DataFrame:
    r"""Return standard errors of `covariate_effects`: an interval of 90 % is 1.64 of them wide.

    By the information that the observations have of feature ``j``'s effects ``b`` (the outer
    product of scores, Berndt et al. 1974),

    .. math:: I_j = \sum_i s_{ij}^2 v_i v_i^T, \qquad
              s_{ij} = E_{q(z \mid x_i)} \frac{\partial \log p(x_i \mid z)}{\partial r_{ij}}, \qquad
              \mathrm{error}_j(b) = \sqrt{c_b^T I_j^{-1} c_b}

    where ``r`` is the log2 rate and ``v`` holds the levels of an observation, its continuous
    covariates in standard deviations, and its mean latents, since an effect is known less well
    where the latents go with the covariate. By Fisher's identity ``s`` is the score of the marginal
    likelihood, so the uncertainty of the latents counts. That of the latents' own meaning (the
    weights of other features) does not, nor do differences between donors that the model is not
    told: take the intervals for the smallest that can be defended.

    Args:
        pair: A pair and data: the observations that it was trained with, for they are counted.
        num_observations: At most so many of them are read; the information grows with their number.
        num_samples: Draws from q(z | x) for each.

    Returns:
        Features x levels, as those of `covariate_effects`, in its units.

    Raises:
        NotInModelError: The model has no covariates, no latent space, or no rates.
    """
    covariates, n = _covariates(pair), len(pair.counts)
    rows, _ = torch.randperm(n)[:num_observations].sort()
    contrasts = _contrasts(covariates, n_latent=len(pair.latents))
    width = contrasts.shape[1]
    errors = []
    for features in torch.arange(len(pair.features)).split(max(1, INFORMATION_NUMBERS // width**2)):
        information = torch.zeros(len(features), width, width, dtype=torch.float64)
        for scores, known in _scores(pair, rows, num_samples):
            products = (known.unsqueeze(-1) * known.unsqueeze(-2)).flatten(1)
            information += (scores[:, features].square().mT @ products).view_as(information)
        information *= n / len(rows)
        floor = SMALLEST_INFORMATION * information.diagonal(dim1=-2, dim2=-1).mean(-1)
        information += floor.clamp_min(SMALLEST_INFORMATION)[:, None, None] * torch.eye(width)
        solved = torch.linalg.solve(information, contrasts.mT.expand(len(features), -1, -1))
        errors.append((contrasts.mT * solved).sum(1).sqrt())
    names = [f"{factor.name}={level}" for factor in covariates.factors for level in factor.levels]
    return pd.DataFrame(
        torch.cat(errors).numpy(),
        index=pd.Index(pair.features, name="feature"),
        columns=[*names, *(number.name for number in covariates.numbers)],
    )


def _covariates(pair: PairOnData) -> Covariates:
    if not pair.model.covariates:
        raise NotInModelError(f"{pair.model.title} has no covariates")
    return pair.model.covariates


def _contrasts(covariates: Covariates, n_latent: int) -> Tensor:
    """What each effect is of the coefficients of ``v``, shape ``(n_effects, width)``.

    That of a level is its coefficient less the mean of all levels' ones; the latents have none.
    """
    blocks = [
        torch.eye(len(factor.levels)) - torch.from_numpy(covariates.shares(factor.name))
        for factor in covariates.factors
    ]
    effects = torch.block_diag(*blocks, torch.eye(len(covariates.numbers)))
    return nn.functional.pad(effects.double(), (0, n_latent))


def _scores(pair: PairOnData, rows: Tensor, num_samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield scores ``s``, ``(B, G)``, and what is known of observations, ``v``, by chunks."""
    rest = rows
    for z, library in pair.draws(rows, repeats=num_samples):
        own, rest = rest.split([len(z) // num_samples, len(rest) - len(z) // num_samples])
        batch = pair.counts.batch(own.repeat_interleave(num_samples))
        scores = pair.model.rate_scores(z, library, batch)
        known = torch.cat([_values(pair.model.covariates, batch), z], -1)
        yield tuple(
            each.double().unflatten(0, (-1, num_samples)).mean(1).cpu() for each in (scores, known)
        )


def _values(covariates: Covariates, batch: Batch) -> Tensor:
    """A column of 0 and 1 for each level, and the numbers in standard deviations."""
    levels = [
        nn.functional.one_hot(batch.covariates[factor.name], len(factor.levels))
        for factor in covariates.factors
    ]
    numbers = [
        ((batch.covariates[each.name] - each.mean) / each.deviation).unsqueeze(-1)
        for each in covariates.numbers
    ]
    return torch.cat([*levels, *numbers], -1)
