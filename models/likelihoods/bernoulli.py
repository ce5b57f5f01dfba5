"""The Bernoulli likelihood of what is there or not."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vae4counts.data.counts.support import BINARY

from .base import Likelihood
from .distribution import CountDistribution
from .sparse import Family, Terms

# A decoder starts at means that are no closer than this to 0 and 1.
SMALLEST_SHARE = 1e-3


def _zero(logit: Tensor) -> Terms:
    """Return ``log p(0) = -log(1 + exp(logit))``."""
    return -softplus(logit), (-torch.sigmoid(logit),)


def _ratio(x: Tensor, logit: Tensor) -> Terms:
    """Return ``x logit``."""
    return x * logit, (x,)


BERNOULLI = Family(zero=_zero, ratio=_ratio)


def log2_odds(shares: Tensor) -> Tensor:
    """Return ``log2 p / (1 - p)``, for probabilities no closer than 1e-6 to 0 and 1."""
    return torch.logit(shares, eps=1e-6) / math.log(2)


class BernoulliValues(CountDistribution):
    """Independent values of 0 or 1, at the cost of the ones.

    Args:
        logits: Logits of the probabilities of 1, shape ``(*batch, G)``.
    """

    family = BERNOULLI
    accepts = BINARY

    @property
    def mean(self) -> Tensor:
        """Probabilities of 1."""
        return torch.sigmoid(self.parameters[0]).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``mean * (1 - mean)``."""
        return self.mean * torch.sigmoid(-self.parameters[0])

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.bernoulli(self.mean.expand(shape))


class Bernoulli(Likelihood):
    """What is there (1) or not (0): mutations, open chromatin, words; ``x_j ~ Bernoulli(p_j)``.

    The decoder's outputs are the logits of ``p``. The values may be sparse.
    """

    support = BINARY
    inputs = "identity"

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`."""
        return torch.logit(mean, eps=SMALLEST_SHARE)

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:  # noqa: ARG002
        """See `Likelihood.comparable`: log2 odds."""
        return log2_odds(means)

    def forward(self, outputs: Tensor, library: Tensor | None) -> BernoulliValues:  # noqa: ARG002
        """See `Likelihood.forward`."""
        (logits,) = self.split(outputs)
        return BernoulliValues(logits)
