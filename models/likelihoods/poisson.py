"""The Poisson likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import SMALLEST_RATE, CountDistribution, Likelihood, rates


class PoissonFamily:
    r"""``log p(0) = -m`` and ``log p(x) - log p(0) = x log m - log x!`` with mean ``m``."""

    @staticmethod
    def zero(mean: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """See `sparse.Family`."""
        return -mean, (mean.new_tensor(-1.0),)

    @staticmethod
    def ratio(x: Tensor, mean: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """See `sparse.Family`."""
        mean = mean.clamp_min(SMALLEST_RATE)
        return torch.log(mean) * x - torch.lgamma(x + 1), (x / mean,)


class PoissonCounts(CountDistribution):
    """Independent Poisson counts with expected counts ``mean`` of shape ``(*batch, G)``."""

    family = PoissonFamily

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

    def __init__(self) -> None:
        super().__init__({})

    def forward(self, outputs: Tensor, library: Tensor | None) -> PoissonCounts:
        """See `Likelihood.forward`."""
        (rate,) = self.split(outputs)
        return PoissonCounts(rates(rate, library))
