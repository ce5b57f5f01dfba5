"""What covariates do to the features, and how well that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.data.counts.batch import rows_of
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.models import NotInModelError
from vae4counts.models.covariates import Covariates, Factor

# The largest tensor of sums over the observations, in numbers: 128 MiB in float64.
SUMMED_NUMBERS = 2**24
# Of the largest: along directions of less information the observations tell nothing.
SMALLEST_INFORMATION = 1e-8


@torch.no_grad()
def covariate_effects(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Return what each level of a covariate does to each feature, for decoders of any kind.

    .. math:: E_z[\log_2 \rho_j(z, c) - \sum_{c'} \pi_{c'} \log_2 \rho_j(z, c')]

    over draws ``z`` of the aggregate posterior, with the shares ``pi`` of the levels in the
    training observations: the log2 fold change against the average level. For a continuous
    covariate it is that of one standard deviation above the mean against the mean. Other covariates
    are held at ``pair.at``, and averaged over otherwise. For a linear decoder with one covariate
    these are its offsets, up to a constant that all features share. `covariate_errors` gives their
    standard errors.

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
    pair: PairOnData,
    *,
    n_training: int | None = None,
    num_observations: int = 5000,
    num_samples: int = 10,
) -> pd.DataFrame:
    r"""Return standard errors of `covariate_effects`: 1.64 to either side are an interval of 90 %.

    For feature ``j``, whose log2 rate is ``r``, they are the largest of three: those of the
    sandwich (White 1982), which does not assume that the likelihood is right; by the likelihood;
    and by the observed scores, as a feature that a level lacks has a rate there that is hardly
    known:

    .. math:: \mathrm{error}_j^2 = \max(c^T H_j^{-1} B_j H_j^{-1} c,\;
              c^T H_j^{-1} c,\; c^T B_j^{-1} c), \quad
              B_j = \sum_i E[s_{ij}]^2 v_i v_i^T, \quad
              H_j = \sum_i (E[\tilde s_{ij}^2] - \mathrm{Var}[s_{ij}])_+ v_i v_i^T

    with scores ``s = d log p(x | z) / dr`` of the observations and :math:`\tilde s` of replicates
    from p(x | z), over ``z`` from q(z | x): ``E[s]`` is the score of the marginal likelihood
    (Fisher's identity), ``H`` its expected curvature (Louis 1982), so that the uncertainty of the
    latents counts. ``v`` holds an observation's levels, its continuous covariates in standard
    deviations, and its mean latents, since an effect is known less well where the latents go with
    the covariate; ``c`` is the effect's contrast.

    What the latents mean (the weights of other features), the chance of training, and differences
    between donors that the model is not told are not counted.

    Args:
        pair: A pair and data, of the kind that it was trained with.
        n_training: With how many observations it was trained. As many as there are if None.
        num_observations: At most so many of the observations are read.
        num_samples: Draws from q(z | x) for each.

    Returns:
        Features x levels, as those of `covariate_effects`, in its units: infinite for what the
        observations do not tell (a level that none has, factors that always go together), NaN for
        features whose likelihood gives no rates by a single output.

    Raises:
        NotInModelError: The model has no covariates, no latent space, or no such feature.
        ValueError: No observation is read, or fewer than two draws of each.
    """
    if num_observations < 1 or num_samples < 2:
        raise ValueError(
            f"num_observations is {num_observations} and num_samples {num_samples}: they must be "
            "at least 1 and 2"
        )
    covariates, n = _covariates(pair), len(pair.counts)
    rows, _ = torch.randperm(n)[:num_observations].sort()
    contrasts = _contrasts(covariates, n_latent=len(pair.latents)).mT
    width = len(contrasts)
    variances = []
    for features in torch.arange(len(pair.features)).split(max(1, SUMMED_NUMBERS // width**2)):
        spread, curvature = torch.zeros(2, len(features), width**2, dtype=torch.float64)
        for each in _scores(pair, rows, num_samples):
            products = (each.known.unsqueeze(-1) * each.known.unsqueeze(-2)).flatten(1)
            spread += each.scores[:, features].square().mT @ products
            curvature += each.curvature[:, features].mT @ products
        variances.append(
            _variances(
                spread.unflatten(1, (width, width)),
                curvature.unflatten(1, (width, width)),
                contrasts,
            )
        )
    found = torch.cat(variances)
    if found.isnan().all():
        raise NotInModelError(f"{pair.model.title} has no rates that single outputs give")
    names = [f"{factor.name}={level}" for factor in covariates.factors for level in factor.levels]
    return pd.DataFrame(
        (found * (len(rows) / (n_training or n))).sqrt().numpy(),
        index=pd.Index(pair.features, name="feature"),
        columns=[*names, *(number.name for number in covariates.numbers)],
    )


def _variances(spread: Tensor, curvature: Tensor, contrasts: Tensor) -> Tensor:
    """Return the variance of each effect, shape ``(G, n_effects)``.

    Args:
        spread: ``B``, shape ``(G, D, D)``; NaN for features without scores.
        curvature: ``H``, shape ``(G, D, D)``.
        contrasts: ``c``, shape ``(D, n_effects)``.
    """
    found = torch.full((len(spread), contrasts.shape[1]), torch.nan, dtype=torch.float64)
    known = curvature.isfinite().all(-1).all(-1)
    spread, curvature = spread[known], curvature[known]
    solved, by_likelihood = _solved(curvature, contrasts)
    _, by_scores = _solved(spread, contrasts)
    sandwich = (solved * (spread @ solved)).sum(1)
    found[known] = torch.stack([sandwich, by_likelihood, by_scores]).amax(0)
    return found


def _solved(information: Tensor, contrasts: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``I^-1 c``, shape ``(G, D, n_effects)``, and ``c^T I^-1 c``, ``(G, n_effects)``.

    The latter are variances, infinite of what the observations do not tell.
    """
    values, axes = torch.linalg.eigh(information)
    told = values > SMALLEST_INFORMATION * values[:, -1:].clamp_min(SMALLEST_INFORMATION)
    along = axes.mT @ contrasts
    untold = (along * ~told.unsqueeze(-1)).square().sum(1) > SMALLEST_INFORMATION
    inverse = torch.where(told, 1 / values, 0.0).unsqueeze(-1) * along
    return axes @ inverse, (along * inverse).sum(1).masked_fill(untold, torch.inf)


@dataclass(frozen=True)
class _Scores:
    """Of ``B`` observations.

    Attributes:
        scores: Those of the marginal likelihood, shape ``(B, G)``.
        curvature: Minus its expected second derivatives, shape ``(B, G)``.
        known: What is known of the observations, ``v``, shape ``(B, D)``.
    """

    scores: Tensor
    curvature: Tensor
    known: Tensor


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


def _scores(pair: PairOnData, rows: Tensor, num_samples: int) -> Iterator[_Scores]:
    """Yield the scores of observations, chunk by chunk."""
    rest, covariates = rows, pair.model.covariates
    # a column for each level, of embedded factors too
    factors = [Factor(factor.name, factor.levels) for factor in covariates.factors]
    design = Covariates(factors, covariates.numbers)
    for z, library in pair.draws(rows, repeats=num_samples):
        own, rest = rest.tensor_split([len(z) // num_samples])
        batch = pair.counts.batch(own.repeat_interleave(num_samples))
        scores, replicated, known = (
            each.double().unflatten(0, (-1, num_samples)).cpu()
            for each in (
                pair.model.rate_scores(z, library, batch),
                pair.model.rate_scores(z, library, _replicate(pair, z, library, batch)),
                torch.cat([design(batch.covariates), z], -1),
            )
        )
        curvature = replicated.square().mean(1) - scores.var(1)
        yield _Scores(scores.mean(1), curvature.clamp_min(0.0), known.mean(1))


def _replicate(pair: PairOnData, z: Tensor, library: Tensor | None, batch: Batch) -> Batch:
    """Return observations with values drawn from p(values | z) in place of those that they have."""
    tables = {}
    for number, (name, table) in enumerate(batch.tables.items()):
        rows = torch.arange(len(batch), device=z.device) if table.rows is None else table.rows
        size = None if library is None else library[rows, number].unsqueeze(-1)
        columns = rows_of(batch.covariates, rows)
        drawn = pair.model.given_latents(name, z[rows], size, columns).sample()
        observed = table.values  # noqa: PD011 (a field of Table)
        if observed.layout == torch.strided:  # of which entries may be missing
            drawn = torch.where(observed.isnan(), torch.nan, drawn)
        tables[name] = replace(table, values=drawn)
    return replace(batch, tables=tables)
