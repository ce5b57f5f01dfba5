"""The multinomial likelihood: counts given their total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .base import SMALLEST_RATE, CountDistribution, Likelihood
from .nonzeros import NonZeros
from .sparse import Family, Terms


def _zero(q: Tensor) -> Terms:
    """``log p(0) = 0``: what hangs on the total alone is added by the distribution."""
    return torch.zeros_like(q), (q.new_zeros(()),)


def _ratio(x: Tensor, q: Tensor) -> Terms:
    """``x log q - log x!`` with probability ``q``."""
    q = q.clamp_min(SMALLEST_RATE)
    return torch.log(q) * x - torch.lgamma(x + 1), (x / q,)


MULTINOMIAL = Family(zero=_zero, ratio=_ratio)


class MultinomialCounts(CountDistribution):
    """Counts of ``total`` draws from the categories ``0..G-1``.

    Args:
        probabilities: Shape ``(*batch, G)``, summing to 1.
        total: Number of draws, shape ``(*batch, 1)``.
    """

    family = MULTINOMIAL

    @property
    def mean(self) -> Tensor:
        """``total * probabilities``."""
        q, total = self.parameters
        return (q * total).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``total * probabilities * (1 - probabilities)``."""
        return self.mean * (1 - self.parameters[0])

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        q, total = parameters
        drawn = counts.row_sum(counts.values)
        value = super()._log_prob(counts, [q]) + torch.lgamma(drawn + 1)
        return value.masked_fill(drawn != total.squeeze(-1), -torch.inf)

    def _draw(self, shape: torch.Size) -> Tensor:
        # torch draws a multinomial only for one total; numpy takes one a row
        q, total = (p.expand(*shape[:-1], -1).double().cpu().numpy() for p in self.parameters)
        random = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        drawn = random.multinomial(total[..., 0].astype(np.int64), q / q.sum(-1, keepdims=True))
        return torch.as_tensor(drawn).to(self.parameters[0])


class Multinomial(Likelihood):
    r"""Counts given their total ``N``: ``x ~ Multinomial(N, softmax(outputs))``.

    Independent Poisson counts *conditioned on their sum* have exactly this distribution, so it is
    the exact relative of scVAE's constrained Poisson (Grønbech et al. 2020). ``N`` is the observed
    library size.
    """

    library_is_total = True

    def forward(self, outputs: Tensor, library: Tensor | None) -> MultinomialCounts:
        """See `Likelihood.forward`.

        Raises:
            ValueError: There is no library size to condition on.
        """
        if library is None:
            raise ValueError("Multinomial needs library='observed': it models counts given N")
        (rate,) = self.split(outputs)
        return MultinomialCounts(torch.softmax(rate, dim=-1), library)
