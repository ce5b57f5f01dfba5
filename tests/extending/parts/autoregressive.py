"""A model that is not a VAE: each count depends on those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro
import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.models import Latent, Model, observations
from vae4counts.models.likelihoods import PoissonCounts


class Autoregressive(Model):
    r"""Poisson counts, ``x_j ~ Poisson(exp(b_j + sum_{i<j} W_{ji} log(1 + x_i)))``."""

    latents: Sequence[Latent] = ()
    reads_counts = True

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = n_features
        self.bias = nn.Parameter(torch.zeros(n_features))
        self.weight = nn.Parameter(torch.zeros(n_features, n_features))

    def mean_given(self, counts: Tensor) -> Tensor:
        """Return each count's mean given those before it, shape ``(*batch, G)``."""
        log_mean = self.bias + torch.log1p(counts) @ self.weight.tril(-1).T
        return log_mean.clamp(max=8.0).exp()

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        means = self.mean_given(batch.counts.to_dense())
        with observations(batch):
            return pyro.sample("counts", PoissonCounts(means), obs=batch.counts)

    @torch.no_grad()
    def draw(
        self, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """See `Model.draw`: one feature after the other."""
        counts = self.bias.new_zeros(num_samples, len(batch), self.n_features)
        for feature in range(self.n_features):
            counts[..., feature] = torch.poisson(self.mean_given(counts)[..., feature])
        return {"counts": counts}
