"""Models without latents, and guides without an encoder, are trained like any others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.inference import Run, Schedule, fit
from vae4counts.models import Latent, Model, observations


class Chain(Model):
    """An autoregressive model: the rate of a feature depends on the features before it."""

    latents = ()
    reads_counts = True

    def __init__(self) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = 7
        self.bias = nn.Parameter(torch.zeros(7))
        self.weight = nn.Parameter(torch.zeros(7, 7))

    def forward(self, batch: Batch) -> Tensor:
        counts = batch.counts.to_dense()
        with observations(batch):
            rates = (counts.log1p() @ self.weight.tril(-1).T + self.bias).clamp(-8, 4).exp()
            return pyro.sample("counts", dist.Poisson(rates).to_event(1), obs=counts)

    def draw(
        self, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        raise NotImplementedError


class Sized(Model):
    """A model whose only latent is a size of each observation."""

    latents = (Latent("size"),)

    def __init__(self) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = 7
        self.logits = nn.Parameter(torch.zeros(7))

    def forward(self, batch: Batch) -> Tensor:
        with observations(batch):
            size = pyro.sample("size", dist.Gamma(2.0, 0.1))
            rates = size.unsqueeze(-1) * self.logits.softmax(-1)
            return pyro.sample(
                "counts", dist.Poisson(rates).to_event(1), obs=batch.counts.to_dense()
            )


class TableGuide(Guide):
    """A guide without an encoder: one size for all observations."""

    sites = ("size",)

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.zeros(()))

    @classmethod
    def fits(cls, model: Model) -> bool:
        return [latent.name for latent in model.latents] == ["size"]

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> Guide:
        return cls()

    def forward(self, batch: Batch) -> Tensor:
        with observations(batch):
            loc = self.loc.expand(len(batch))
            return pyro.sample("size", dist.LogNormal(loc, self.log_scale.exp()))


def trained(model: Model, guide: Guide, adata: AnnData) -> Run:
    options = {"epochs": 100, "learning_rate": 0.1, "progress": False, "device": "cpu"}
    return fit(model, guide, adata, schedule=Schedule(restarts=2), **options)


def test_an_autoregressive_model_learns_the_dependence(adata: AnnData) -> None:
    model = Chain()
    run = trained(model, guide_for(model), adata)
    history = run.history
    assert (history.kl_weight == 1).all()  # nothing is sampled: no warm-up
    assert history.validation_reconstruction.equals(history.validation_elbo)
    assert history.validation_elbo.iloc[-1] > history.validation_elbo.iloc[0] + 1
    assert run.model.weight[1, 0] > 0.1  # of one group of features
    assert run.model.weight[4, 0] < -0.1  # of two


def test_a_guide_without_an_encoder_finds_the_size(adata: AnnData) -> None:
    guide = TableGuide()
    run = trained(Sized(), guide, adata)
    assert run.history.phase.unique().tolist() == ["restart", "full"]
    mean_size = float(adata.X.sum()) / 100
    assert run.guide.loc.exp().item() == pytest.approx(mean_size, rel=0.2)
    np.testing.assert_array_less(run.history.validation_elbo, run.history.validation_reconstruction)
