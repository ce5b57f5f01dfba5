"""A guide without an encoder: q(z | x) depends on the total count alone."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide
from vae4counts.models import Model, observations


class LinearGuide(Guide):
    """``q(z | x) = N(a + b log(1 + n), diag(s)^2)`` with the total count ``n``."""

    sites: Sequence[str] = ("z",)

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.intercept = nn.Parameter(torch.zeros(n_latent))
        self.slope = nn.Parameter(torch.zeros(n_latent))
        self.log_scale = nn.Parameter(torch.zeros(n_latent))

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model whose only site to sample is ``z``."""
        return {latent.name for latent in model.latents if latent.states is None} == {"z"}

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> LinearGuide:
        """See `Guide.for_model`: there is no encoder to use."""
        return cls(model.n_latent or 0)

    def forward(self, batch: Batch) -> Tensor:
        """See `Guide.forward`."""
        loc = self.intercept + self.slope * torch.log1p(batch.library).unsqueeze(-1)
        with observations(batch):
            return pyro.sample("z", dist.Normal(loc, self.log_scale.exp()).to_event(1))
