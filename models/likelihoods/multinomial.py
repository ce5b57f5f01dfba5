"""The multinomial likelihood: counts given their total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vae4counts.models.base import NotInModelError

from .base import SMALLEST_RATE, Likelihood
from .distribution import CountDistribution
from .log_gamma import log_poisson_ratio
from .nonzeros import NonZeros
from .sparse import Family, Terms

# Relative difference allowed between the total and the sum of the counts: sums of 17 million or
# more are not exact in float32. A total that is off by 1 is noticed up to 2 million.
TOTAL_TOLERANCE = 5e-7


def _zero(q: Tensor, total: Tensor) -> Terms:  # noqa: ARG001
    """Return ``log p(0) = 0``: the distribution adds what depends on the total only."""
    nothing = q.new_zeros(())
    return nothing, (nothing, nothing)


def _ratio(x: Tensor, q: Tensor, total: Tensor) -> Terms:
    """Return ``x log(N q) - log x!`` with probability ``q`` and total ``N``."""
    mean = (q * total).clamp_min(SMALLEST_RATE)
    return log_poisson_ratio(x, mean), (x * total / mean, x / total)


MULTINOMIAL = Family(zero=_zero, ratio=_ratio)


class MultinomialCounts(CountDistribution):
    r"""Counts of ``total`` draws from the categories ``0..G-1``.

    They are Poisson counts of mean ``N q`` given that their total, a Poisson of mean ``N``, is
    ``N``:

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
        """See `JointDistribution.log_prob_at`: counts given their total are not independent."""
        raise NotInModelError(
            "a Multinomial models counts given their total, which a few counts do not determine: "
            "use another likelihood"
        )

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        q, total = parameters[0], parameters[1].detach().to(parameters[0].dtype)
        n = total.squeeze(-1)
        value = super()._log_prob(counts, [q, total]) - log_poisson_ratio(n, n.clamp_min(1))
        off = (counts.row_sum(counts.values) - n).abs() > TOTAL_TOLERANCE * n
        return value.masked_fill(off, -torch.inf)

    def _draw(self, shape: torch.Size) -> Tensor:
        # torch draws multinomials of one total only; numpy takes a total for each row
        q, total = (p.expand(*shape[:-1], -1).double().cpu().numpy() for p in self.parameters)
        random = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        drawn = random.multinomial(total[..., 0].astype(np.int64), q / q.sum(-1, keepdims=True))
        return torch.as_tensor(drawn).to(self.parameters[0])


class Multinomial(Likelihood):
    r"""Counts given their total ``N``: ``x ~ Multinomial(N, softmax(outputs))``.

    Independent Poisson counts *conditioned on their sum* have exactly this distribution: it is
    what scVAE's constrained Poisson approximates (Grønbech et al. 2020). ``N`` is the observed
    library size.
    """

    library_is_total = True

    def forward(self, outputs: Tensor, library: Tensor | None) -> MultinomialCounts:
        """See `Likelihood.forward`.

        Raises:
            ValueError: There is no library size.
        """
        if library is None:
            raise ValueError("Multinomial needs library='observed': it models counts given N")
        (rate,) = self.split(outputs)
        return MultinomialCounts(torch.softmax(rate, dim=-1), library)
