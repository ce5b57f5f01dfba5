"""The logistic normal prior of topic models."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from .base import Prior


class TopicPrior(Prior):
    r"""A logistic normal distribution of the shares of topics, in unbounded coordinates.

    .. math:: z_k \sim N(0, \sigma_k^2), \qquad \theta = \mathrm{softmax}(z).

    It starts where :math:`\theta` is close to a symmetric Dirichlet distribution of concentration
    :math:`\alpha`, by Laplace's approximation :math:`\sigma^2 = (1 - 1/K) / \alpha` (Srivastava &
    Sutton 2017); the scales are then learnt. The site is ``z``, and `TopicDecoder`, the decoder
    that goes with this prior, takes the softmax: so every guide, refinement and chains of HMC work
    as they do for other priors.

    Args:
        n_latent: Number ``K`` of topics.
        concentration: The concentration :math:`\alpha` at the start. Below 1 an observation has few
            of the topics.

    Raises:
        ValueError: The concentration is not above 0.
    """

    flips = True  # symmetric: there is nothing to change
    default_decoder = "topics"
    zero: Tensor

    def __init__(self, n_latent: int = 10, concentration: float = 0.3) -> None:
        super().__init__()
        if not concentration > 0:
            raise ValueError(f"concentration is {concentration}: it must be above 0")
        self.n_latent, self.concentration = n_latent, concentration
        # a single topic, whose share is 1 whatever its latent, has no Dirichlet to be close to
        scale = math.sqrt((1 - 1 / max(n_latent, 2)) / concentration)
        self.log_scale = nn.Parameter(torch.full((n_latent,), math.log(scale)))
        self.register_buffer("zero", torch.zeros(n_latent), persistent=False)

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        return pyro.sample("z", dist.Normal(self.zero, self.log_scale.exp()).to_event(1))

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return torch.distributions.Normal(self.zero, self.log_scale.exp()).log_prob(z).sum(-1)
