"""A prior that is no mixture, and a guide whose q(z | x) has no mean in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import AffineTransform, TanhTransform

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide
from vae4counts.guides.heads import GaussianHead
from vae4counts.models import Model, observations
from vae4counts.models.priors import Prior

WIDTH = 5.0


class Laplace(Prior):
    """``z_l ~ Laplace(0, sqrt(1/2))``, of variance 1."""

    zero: Tensor

    def __init__(self, n_latent: int = 2) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.register_buffer("zero", torch.zeros(n_latent), persistent=False)

    def density(self) -> dist.Laplace:
        """Return the density of one latent after the other."""
        return dist.Laplace(self.zero, 0.5**0.5)

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        return pyro.sample("z", self.density().to_event(1))

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return self.density().log_prob(z).sum(-1)


class TanhGuide(Guide):
    """``q(z | x)``: a Gaussian squeezed between -5 and 5 by a hyperbolic tangent."""

    sites: Sequence[str] = ("z",)

    def __init__(self, n_features: int, n_latent: int, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.n_features, self.n_latent = n_features, n_latent
        self.encoder = Encoder() if encoder is None else encoder
        self.encoder.build(n_features)
        self.head = GaussianHead(self.encoder.hidden[-1], n_latent)

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model whose only site to sample is ``z``."""
        return {latent.name for latent in model.latents if latent.states is None} == {"z"}

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> TanhGuide:
        """See `Guide.for_model`."""
        return cls(model.n_features, model.n_latent or 0, encoder)

    def forward(self, batch: Batch) -> Tensor:
        """See `Guide.forward`."""
        loc, scale = self.head(self.encoder(batch.counts))
        base = dist.Normal(loc, scale).to_event(1)
        squeezed = [TanhTransform(cache_size=1), AffineTransform(0.0, WIDTH, cache_size=1)]
        with observations(batch):
            return pyro.sample("z", dist.TransformedDistribution(base, squeezed))
