"""Models that are not VAEs have a report too, without the sections that do not apply."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import guide_for
from vae4counts.inference import fit, write_report
from vae4counts.inference.report import SECTIONS
from vae4counts.inference.report.figures import FIGURES
from vae4counts.inference.report.subject import Subject
from vae4counts.models import Latent, Model, observations

pytestmark = pytest.mark.slow


class Chain(Model):
    """Each count is Poisson given the one before it: nothing is latent, and draws are made anew."""

    latents = ()

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = n_features
        self.bias = nn.Parameter(torch.zeros(n_features))
        self.slope = nn.Parameter(torch.zeros(n_features))

    def rates_after(self, before: Tensor) -> Tensor:
        return nn.functional.softplus(self.bias + self.slope * torch.log1p(before)) + 1e-3

    def forward(self, batch: Batch) -> Tensor:
        counts = batch.counts.to_dense()
        before = nn.functional.pad(counts[:, :-1], (1, 0))
        with observations(batch):
            poisson = dist.Poisson(self.rates_after(before)).to_event(1)
            return pyro.sample("counts", poisson, obs=counts)

    @torch.no_grad()
    def draw(
        self, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        counts = torch.zeros(num_samples, len(batch), self.n_features)
        for j in range(self.n_features):
            before = nn.functional.pad(counts[..., :-1], (1, 0))
            counts[..., j] = torch.poisson(self.rates_after(before))[..., j]
        return {"counts": counts}


class Crossed(Model):
    """A component and a depth, both enumerated, which together set the Poisson rates."""

    latents = (Latent("component", states=2), Latent("depth", states=3))

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.numbers_per_draw = 6 * n_features
        self.shape = nn.Parameter(torch.randn(2, n_features))
        self.depth = nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))

    def forward(self, batch: Batch) -> Tensor:
        enumerated = {"enumerate": "parallel"}
        with observations(batch):
            one = pyro.sample("component", dist.Categorical(torch.ones(2) / 2), infer=enumerated)
            two = pyro.sample("depth", dist.Categorical(torch.ones(3) / 3), infer=enumerated)
            rates = (self.shape[one] + self.depth[two].unsqueeze(-1)).exp()
            return pyro.sample(
                "counts", dist.Poisson(rates).to_event(1), obs=batch.counts.to_dense()
            )


MODELS = {
    "nothing latent": (
        Chain,
        {"posteriors", "latent-space", "components", "diagnosis", "loadings", "directions"},
        {"history"},
    ),
    "two enumerated sites": (
        Crossed,
        {"posteriors", "latent-space", "loadings", "directions"},
        {"history", "components"},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_does_not_apply_is_left_out(name: str, adata: AnnData, tmp_path: Path) -> None:
    make, missing, figures = MODELS[name]
    model = make(7)
    run = fit(model, guide_for(model), adata, epochs=2, label="group", device="cpu", progress=False)
    write_report(run, adata, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<h1>{make.__name__} on data</h1>" in page
    shown = {section for section in SECTIONS if f'<section id="{section}"' in page}
    others = {"covariates", "feature-tree", "modalities", "topics"}
    assert shown == set(SECTIONS) - missing - others
    subject = Subject(run.on(adata))
    assert {name for name, draw in FIGURES.items() if draw(subject) is not None} == figures
