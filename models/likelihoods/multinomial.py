"""The multinomial likelihood: counts given their total."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from vae4counts.models.base import NotInModelError
from vae4counts.models.joint.distribution import NO_SHAPE, dense_counts

from .base import SMALLEST_RATE, Likelihood
from .distribution import CountDistribution, Shape
from .log_gamma import log_poisson_ratio
from .nonzeros import NonZeros
from .sparse import Family, Terms

# Relative difference allowed between the total and the sum of the counts: sums of 17 million or
# more are not exact in float32. A total that is off by 1 is noticed up to 2 million.
TOTAL_TOLERANCE = 5e-7
# Inclusion and exclusion takes 2 to the power of so many terms.
MOST_PRESENT = 6


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

    Some of the counts are a multinomial too, whose last category is all others; and the others,
    given these, are one of what is left of the total.

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

    @torch.no_grad()
    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`: each is a binomial count."""
        q, n = (each.double() for each in self._at(columns))
        x, left = values.double(), (n - values).clamp_min(0)
        ways = torch.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(left + 1)
        found = ways + torch.xlogy(x, q) + torch.special.xlog1py(left, -q)
        return found.masked_fill(x > n, -torch.inf).to(self.parameters[0])

    @torch.no_grad()
    def presence_together(self, columns: Tensor, weights: Tensor) -> Tensor:
        """See `JointDistribution.presence_together`: by inclusion and exclusion."""
        q, n = (each.double() for each in self._at(columns))
        none, found = (1 - q) ** n, []
        for one, absent in zip(q.unbind(-1), none.unbind(-1), strict=True):
            neither = (1 - q - one.unsqueeze(-1)).clamp_min(0) ** n
            found.append(weights @ (1 - none - absent.unsqueeze(-1) + neither))
        return torch.stack(found).clamp_min(0)

    @torch.no_grad()
    def leave_one_out(self, values: Tensor) -> Tensor:  # noqa: ARG002
        """See `JointDistribution.leave_one_out`.

        Raises:
            NotInModelError: Always: a count is what the others leave of the total.
        """
        raise NotInModelError(
            "a Multinomial models counts given their total, by which the others determine each: "
            "use another likelihood"
        )

    @torch.no_grad()
    def log_marginal(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """See `JointDistribution.log_marginal`.

        Raises:
            NotInModelError: More than a few counts are known to be 1 or more.
        """
        others, rest = self._given(values, observed)
        seen = torch.where(observed, dense_counts(values).double(), 0.0)
        n, left = (each.squeeze(-1) for each in (self.parameters[1].double(), others.parameters[1]))
        ways = torch.lgamma(n + 1) - torch.lgamma(left + 1) - torch.lgamma(seen + 1).sum(-1)
        found = ways + torch.xlogy(seen, self.parameters[0].double()).sum(-1)
        found = found + torch.xlogy(left, rest)
        if present is not None:
            found = found + others._present(present & ~observed).log()
        return found.masked_fill(seen.sum(-1) > n, -torch.inf).to(self.parameters[0])

    @torch.no_grad()
    def expected_given(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `JointDistribution.expected_given`.

        Raises:
            NotInModelError: More than a few counts are known to be 1 or more.
        """
        others, _ = self._given(values, observed)
        q, n = others.parameters
        known = torch.zeros_like(observed) if present is None else present & ~observed
        chance = others._present(known).unsqueeze(-1)
        # one draw is the feature's, and those that are left are to make the others present
        expected = q * n * others._present(known, drawn=1).unsqueeze(-1) / chance
        absent = others._present(known, without=q) / chance
        # where what is known is impossible nothing is expected
        return expected.nan_to_num(0.0, posinf=0.0), (1 - absent).nan_to_num(0.0).clamp(0, 1)

    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: Shape = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`."""
        others, _ = self._given(values, observed)
        drawn = others.sample(sample_shape).to(self.parameters[0])
        return torch.where(observed, dense_counts(values).to(drawn), drawn)

    def _given(self, values: Tensor, observed: Tensor) -> tuple[MultinomialCounts, Tensor]:
        """The distribution of the other counts given some, and their share, ``(*batch,)``."""
        q, total = (each.double() for each in self.parameters)
        unseen = torch.where(observed, 0.0, q)
        rest = unseen.sum(-1, keepdim=True)
        seen = torch.where(observed, dense_counts(values).double(), 0.0).sum(-1, keepdim=True)
        left = (total - seen).clamp_min(0)
        return MultinomialCounts(unseen / rest.clamp_min(SMALLEST_RATE), left), rest.squeeze(-1)

    def _present(self, known: Tensor, without: Tensor | None = None, drawn: int = 0) -> Tensor:
        r"""Return the probability that certain counts are all 1 or more.

        .. math:: \sum_{T \subseteq \mathrm{known}} (-1)^{|T|} \Big(1 - \sum_{j \in T} q_j\Big)^N

        Args:
            known: Which, of shape ``(G,)`` or ``(B, G)``.
            without: Probabilities of others, ``(*batch, G)``; each of which is then to be 0 at the
                same time, one by one, and the answer has their shape. None for none.
            drawn: By how many the total is smaller.

        Raises:
            NotInModelError: There are more than a few.
        """
        columns = known.reshape(-1, known.shape[-1]).any(0).nonzero().squeeze(-1).tolist()
        if len(columns) > MOST_PRESENT:
            raise NotInModelError(
                f"{len(columns)} features of a Multinomial are to be there, of which at most "
                f"{MOST_PRESENT} can be: give their counts, or fewer"
            )
        q, n = self.parameters
        power = n.squeeze(-1) - drawn if without is None else n - drawn
        found = torch.zeros(())
        for size in range(len(columns) + 1):
            for chosen in combinations(columns, size):
                sign = (-1.0) ** size * known[..., list(chosen)].all(-1).double()
                left = 1 - q[..., list(chosen)].sum(-1)
                if without is not None:
                    sign, left = sign.unsqueeze(-1), left.unsqueeze(-1) - without
                found = found + sign * left.clamp_min(0) ** power.clamp_min(0)
        return found.clamp_min(0)

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
