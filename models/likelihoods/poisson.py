"""The Poisson likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import SMALLEST_RATE, Likelihood, rates
from .distribution import CountDistribution
from .log_gamma import log_poisson_ratio
from .sparse import Family, Terms


def _zero(mean: Tensor) -> Terms:
    """Return ``log p(0) = -m`` with mean ``m``."""
    return -mean, (mean.new_full((), -1.0),)


def _ratio(x: Tensor, mean: Tensor) -> Terms:
    """Return ``x log m - log x!``."""
    mean = mean.clamp_min(SMALLEST_RATE)
    return log_poisson_ratio(x, mean), (x / mean,)


POISSON = Family(zero=_zero, ratio=_ratio)


class PoissonCounts(CountDistribution):
    """Independent Poisson counts with expected counts ``mean`` of shape ``(*batch, G)``."""

    family = POISSON

    @property
    def mean(self) -> Tensor:
        """Expected counts."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Variances, equal to the expected counts."""
        return self.mean

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.poisson(self.mean.expand(shape))


class Poisson(Likelihood):
    r"""Poisson counts, ``x_j ~ Poisson(m_j)`` with ``m = library * softmax(outputs)``."""

    def forward(self, outputs: Tensor, library: Tensor | None) -> PoissonCounts:
        """See `Likelihood.forward`."""
        (rate,) = self.split(outputs)
        return PoissonCounts(rates(rate, library))
