"""The negative binomial likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import SMALLEST_RATE, Likelihood, rates
from .distribution import CountDistribution
from .log_gamma import log_choose
from .sparse import Family, Terms

# Bounds of the logarithm of the inverse dispersion: about 1e-3 (a variance of 1,000 times the
# squared mean) to 1e5 (in float32 a Poisson).
LOG_R_MIN, LOG_R_MAX = -7.0, 11.5


def _zero(mean: Tensor, r: Tensor) -> Terms:
    r"""Return ``log p(0) = -r log(1 + m / r)`` with mean ``m`` and inverse dispersion ``r``."""
    odds = mean / r
    fall = torch.log1p(odds).neg_()
    share = (-1 - odds).reciprocal_()  # minus r / (m + r)
    # m / (m + r) as a product: 1 + share would lose all digits where the odds are small
    by_r = torch.addcmul(fall, odds, share, value=-1, out=odds)
    return fall.mul_(r), (share, by_r)


def _ratio(x: Tensor, mean: Tensor, r: Tensor) -> Terms:
    r"""Return ``log[Γ(r + x) / (Γ(r) x!)] + x log[m / (m + r)]``."""
    mean = mean.clamp_min(SMALLEST_RATE)
    value, slope = log_choose(r, x)
    share = x / (mean + r)
    return value - x * torch.log1p(r / mean), (share * r / mean, slope - share)


NEGATIVE_BINOMIAL = Family(zero=_zero, ratio=_ratio)


class NegativeBinomialCounts(CountDistribution):
    """Independent negative binomial counts.

    Args:
        mean: Expected counts, shape ``(*batch, G)``.
        inverse_dispersion: ``r``, broadcastable to the mean; variance ``mean + mean**2 / r``.
    """

    family = NEGATIVE_BINOMIAL

    @property
    def mean(self) -> Tensor:
        """Expected counts."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``mean + mean**2 / r``."""
        return self.mean + self.mean**2 / self.parameters[1]

    def _draw(self, shape: torch.Size) -> Tensor:
        mean, r = self.parameters
        return torch.poisson(gamma_rate(mean, r, shape))


def gamma_rate(mean: Tensor, r: Tensor, shape: torch.Size) -> Tensor:
    """Draw the gamma-distributed rates of Poisson counts that are then negative binomial."""
    return torch._standard_gamma(r.expand(shape).contiguous()) * (mean / r)


class NegativeBinomial(Likelihood):
    r"""Overdispersed counts, ``x_j ~ NB(m_j, r_j)`` with ``m = library * softmax(outputs)``.

    The parameters are the mean and the inverse dispersion ``r`` (variance ``m + m**2 / r``), as
    in scVI (Lopez et al. 2018).

    Args:
        dispersion: The extent of ``r``: "shared", "feature" or "observation".
        by: The name of a categorical covariate each level of which has its own ``r``; None for one
            for all.
    """

    def __init__(self, dispersion: str = "feature", by: str | None = None) -> None:
        super().__init__()
        self.dispersion, self.by = dispersion, by
        self.declare("dispersion", dispersion)

    def forward(self, outputs: Tensor, library: Tensor | None) -> NegativeBinomialCounts:
        """See `Likelihood.forward`."""
        rate, log_r = self.split(outputs)
        return NegativeBinomialCounts(rates(rate, library), inverse_dispersion(log_r))


def inverse_dispersion(log_r: Tensor) -> Tensor:
    """Return ``r`` from its logarithm, within the bounds that float32 resolves."""
    return log_r.clamp(LOG_R_MIN, LOG_R_MAX).exp()
