"""The multinomial likelihood: counts given their total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vae4counts.models.base import NotInModelError

from .base import SMALLEST_RATE, CountDistribution, Likelihood
from .nonzeros import NonZeros
from .sparse import Family, Terms
from .special import log_poisson_ratio

# How far the total may be from the sum of the counts, relatively: float32 cannot add up to a
# whole number of 17 million or more exactly. A total that is off by 1 is seen up to 2 million.
TOTAL_TOLERANCE = 5e-7


def _zero(q: Tensor, total: Tensor) -> Terms:  # noqa: ARG001
    """``log p(0) = 0``: what hangs on the total alone is added by the distribution."""
    nothing = q.new_zeros(())
    return nothing, (nothing, nothing)


def _ratio(x: Tensor, q: Tensor, total: Tensor) -> Terms:
    """``x log(N q) - log x!`` with probability ``q`` and total ``N``."""
    mean = (q * total).clamp_min(SMALLEST_RATE)
    return log_poisson_ratio(x, mean), (x * total / mean, x / total)


MULTINOMIAL = Family(zero=_zero, ratio=_ratio)


class MultinomialCounts(CountDistribution):
    r"""Counts of ``total`` draws from the categories ``0..G-1``.

    Poisson counts of mean ``N q``, given that their total, a Poisson of mean ``N``, is ``N``:

    .. math:: \log p(x) = \sum_j [x_j \log(N q_j) - \log x_j!] - [N \log N - \log N!],

    and minus infinity where the counts do not add up to ``N``. With ``N q`` in place of ``q`` the
    terms are of the size of ``N``, not of ``N log N``.

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

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """See `JointDistribution.log_prob_at`: the total says nothing of a few features."""
        raise NotInModelError(
            "a Multinomial models counts given their total, which a few of them do not tell: "
            "take another likelihood"
        )

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        q, total = parameters[0], parameters[1].detach().to(parameters[0].dtype)
        n = total.squeeze(-1)
        value = super()._log_prob(counts, [q, total]) - log_poisson_ratio(n, n.clamp_min(1))
        off = (counts.row_sum(counts.values) - n).abs() > TOTAL_TOLERANCE * n
        return value.masked_fill(off, -torch.inf)

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
