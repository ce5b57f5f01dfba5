"""Zero inflation of any family, and two likelihoods with extra zeros."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .base import Likelihood, rates
from .distribution import CountDistribution
from .negative_binomial import NEGATIVE_BINOMIAL, gamma_rate, inverse_dispersion
from .poisson import POISSON
from .sparse import Family, Terms

# The gate starts at sigmoid(-3), about 5 %: the counts explain the zeros until the data support
# inflation.
INITIAL_GATE_LOGIT = -3.0


def zero_inflated(base: Family) -> Family:
    r"""Return the family that is zero with probability ``sigmoid(g)`` and else follows ``base``.

    With ``f`` the base and ``z = log f(0)``,

    .. math:: \log p(0) &= \log(e^g + e^z) - \log(1 + e^g), \\
              \log p(x) - \log p(0) &= \log f(x) - z - \log(1 + e^{g - z}).

    Its parameters are the gate's logit ``g`` and then those of the base.
    """

    def zero(gate: Tensor, *parameters: Tensor) -> Terms:
        zero, slopes = base.zero(*parameters)
        value = torch.logaddexp(gate, zero) + logsigmoid(-gate)
        by_gate = torch.sigmoid(gate - zero) - torch.sigmoid(gate)
        by_zero = torch.sigmoid(zero - gate)
        return value, (by_gate, *(by_zero * slope for slope in slopes))

    def ratio(x: Tensor, gate: Tensor, *parameters: Tensor) -> Terms:
        zero, zero_slopes = base.zero(*parameters)
        ratio, ratio_slopes = base.ratio(x, *parameters)
        inflated = x > 0  # a zero that is stored among the non-zeros has a ratio of 0
        gated = torch.sigmoid(gate - zero) * inflated
        slopes = (r + gated * z for r, z in zip(ratio_slopes, zero_slopes, strict=True))
        return ratio + logsigmoid(zero - gate) * inflated, (-gated, *slopes)

    return Family(zero=zero, ratio=ratio)


class _ZeroInflatedCounts(CountDistribution):
    """Counts whose first parameter is the gate's logit and whose second is the base's mean."""

    @property
    def mean(self) -> Tensor:
        """``(1 - gate) * mean``."""
        gate, mean = self.parameters[:2]
        return (torch.sigmoid(-gate) * mean).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``(1 - gate) * (base variance + gate * mean**2)``."""
        gate, mean = self.parameters[:2]
        spread = self._base_variance() + torch.sigmoid(gate) * mean**2
        return (torch.sigmoid(-gate) * spread).expand(self.batch_shape + self.event_shape)

    def _draw(self, shape: torch.Size) -> Tensor:
        kept = torch.bernoulli(torch.sigmoid(-self.parameters[0]).expand(shape))
        return torch.poisson(self._base_rate(shape)) * kept

    @abstractmethod
    def _base_variance(self) -> Tensor:
        """Return the variance of the base's counts."""

    @abstractmethod
    def _base_rate(self, shape: torch.Size) -> Tensor:
        """Return the Poisson rates of the base's counts, drawn if they are random."""


class ZeroInflatedPoissonCounts(_ZeroInflatedCounts):
    """Poisson counts with extra zeros.

    Args:
        gate: Logit of the probability of an extra zero, broadcastable to the mean.
        mean: Expected counts of the Poisson, shape ``(*batch, G)``.
    """

    family = zero_inflated(POISSON)

    def _base_variance(self) -> Tensor:
        return self.parameters[1]

    def _base_rate(self, shape: torch.Size) -> Tensor:
        return self.parameters[1].expand(shape)


class ZeroInflatedNegativeBinomialCounts(_ZeroInflatedCounts):
    """Negative binomial counts with extra zeros.

    Args:
        gate: Logit of the probability of an extra zero, broadcastable to the mean.
        mean: Expected counts of the negative binomial, shape ``(*batch, G)``.
        inverse_dispersion: ``r``, broadcastable to the mean.
    """

    family = zero_inflated(NEGATIVE_BINOMIAL)

    def _base_variance(self) -> Tensor:
        return self.parameters[1] + self.parameters[1] ** 2 / self.parameters[2]

    def _base_rate(self, shape: torch.Size) -> Tensor:
        return gamma_rate(self.parameters[1], self.parameters[2], shape)


class ZeroInflatedPoisson(Likelihood):
    r"""Poisson counts with extra zeros, of probability ``sigmoid(g)``.

    Args:
        gate: The extent of ``g``: "shared", "feature" or "observation".
        by: The name of a categorical covariate each level of which has its own ``g``; None for one
            for all.
    """

    def __init__(self, gate: str = "feature", by: str | None = None) -> None:
        super().__init__()
        self.gate, self.by = gate, by
        self.declare("gate", gate)

    def forward(self, outputs: Tensor, library: Tensor | None) -> ZeroInflatedPoissonCounts:
        """See `Likelihood.forward`."""
        rate, gate = self.split(outputs)
        return ZeroInflatedPoissonCounts(gate + INITIAL_GATE_LOGIT, rates(rate, library))


class ZeroInflatedNegativeBinomial(Likelihood):
    r"""Negative binomial counts with extra zeros, of probability ``sigmoid(g)``.

    Args:
        dispersion: The extent of the inverse dispersion: "shared", "feature" or "observation".
        gate: The extent of ``g``: "shared", "feature" or "observation".
        by: The name of a categorical covariate each level of which has its own inverse dispersion
            and ``g``, where these are no decoder outputs; None for one for all.
    """

    def __init__(
        self, dispersion: str = "feature", gate: str = "feature", by: str | None = None
    ) -> None:
        super().__init__()
        self.dispersion, self.gate, self.by = dispersion, gate, by
        self.declare("dispersion", dispersion)
        self.declare("gate", gate)

    def forward(
        self, outputs: Tensor, library: Tensor | None
    ) -> ZeroInflatedNegativeBinomialCounts:
        """See `Likelihood.forward`."""
        rate, log_r, gate = self.split(outputs)
        return ZeroInflatedNegativeBinomialCounts(
            gate + INITIAL_GATE_LOGIT, rates(rate, library), inverse_dispersion(log_r)
        )
