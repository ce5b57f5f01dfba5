"""A likelihood whose derivatives are left to autograd: the beta negative binomial."""

from __future__ import annotations

import torch
from torch import Tensor

from vae4counts.models.likelihoods import CountDistribution, Family, Likelihood, rates

TAIL = 4.0
"""The shape of the tail: moments up to the third exist."""


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """Return the logarithm of the beta function."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def zero(mean: Tensor, size: Tensor) -> Tensor:
    """Return ``log p(0) = log B(a + n, b) - log B(a, b)`` with ``b = m (a - 1) / n``."""
    a, b = mean.new_tensor(TAIL), mean * (TAIL - 1) / size
    return log_beta(a + size, b) - log_beta(a, b)


def ratio(x: Tensor, mean: Tensor, size: Tensor) -> Tensor:
    """Return ``log p(x) - log p(0)``."""
    a, b = mean.new_tensor(TAIL), mean * (TAIL - 1) / size
    choose = torch.lgamma(size + x) - torch.lgamma(size) - torch.lgamma(x + 1)
    return choose + log_beta(a + size, b + x) - log_beta(a + size, b)


class BetaNegativeBinomialCounts(CountDistribution):
    """A negative binomial whose probability is beta distributed, of a mean and a size."""

    family = Family.by_autograd(zero, ratio)

    @property
    def mean(self) -> Tensor:
        """Expected counts."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``n (n + a - 1) b (a + b - 1) / ((a - 2) (a - 1)^2)``."""
        n, a = self.parameters[1], TAIL
        b = self.mean * (a - 1) / n
        return n * (n + a - 1) * b * (a + b - 1) / ((a - 2) * (a - 1) ** 2)

    def _draw(self, shape: torch.Size) -> Tensor:
        mean, n = (parameter.expand(shape) for parameter in self.parameters)
        p = torch.distributions.Beta(torch.full_like(mean, TAIL), mean * (TAIL - 1) / n).sample()
        odds = (1 - p) / p.clamp_min(1e-6)
        return torch.poisson(torch._standard_gamma(n.contiguous()) * odds)


class BetaNegativeBinomial(Likelihood):
    """Counts with heavy tails, their mean read off the decoder and one size per feature."""

    def __init__(self) -> None:
        super().__init__()
        self.declare("size", "feature")

    def forward(self, outputs: Tensor, library: Tensor | None) -> BetaNegativeBinomialCounts:
        """See `Likelihood.forward`."""
        rate, log_size = self.split(outputs)
        mean = rates(rate, library).clamp_min(1e-6)
        return BetaNegativeBinomialCounts(mean, log_size.clamp(-5, 5).exp())
