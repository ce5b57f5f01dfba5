"""The standard normal prior."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from .base import Prior


class StandardNormal(Prior):
    """``z ~ N(0, I)``.

    Args:
        n_latent: Dimension of the latents.
    """

    rotation_invariant = True
    flips = True
    zero: Tensor

    def __init__(self, n_latent: int = 10) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.register_buffer("zero", torch.zeros(n_latent), persistent=False)

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        return pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return torch.distributions.Normal(self.zero, 1.0).log_prob(z).sum(-1)
