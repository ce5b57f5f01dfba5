"""Pairs in float64 whose objective can be written down by hand, and a small run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide, JointGuide, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.report import elements, figures
from vae4counts.models import GMVAE, VAE, Latent, MLPDecoder, Model, observations
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.likelihoods.poisson import PoissonCounts
from vae4counts.models.priors import GaussianMixture, Prior, StandardNormal, VampPrior

PRIORS: dict[str, Callable[[int], Prior]] = {
    "standard-normal": StandardNormal,
    "mixture": lambda n_latent: GaussianMixture(n_latent, 3),
    "uniform": lambda n_latent: GaussianMixture(n_latent, 3, weights="uniform"),
    "vamp": lambda n_latent: VampPrior(n_latent, 3),
}


def make_pair(
    prior: str,
    guide: str,
    *,
    n_latent: int = 2,
    library: str | None = "observed",
    wide: bool = False,
) -> tuple[VAE, Guide]:
    """A VAE of Poisson counts and its guide, with parameters far from their start.

    Args:
        prior: A key of `PRIORS`.
        guide: "marginal", "selection" or "addition"; the last two are joint guides.
        n_latent: Dimension of the latents.
        library: See `VAE`.
        wide: Whether the guide's Gaussians are wide, so that importance weights vary little.
    """
    # normalised by layers: batches would tie observations together, which formulas take one by one
    decoder = MLPDecoder((5,), norm="layer")
    model = VAE(4, PRIORS[prior](n_latent), Poisson(), decoder, library)
    encoder = Encoder((6,), norm="layer", dropout=0.0)
    if guide == "marginal":
        made: Guide = guide_for(model, "marginal", encoder)
    else:
        made = JointGuide(4, n_latent, 3, library == "latent", guide, encoder)
    model.double(), made.double()
    with torch.no_grad():
        for module in (model, made):
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn_like(parameter)
    if library == "latent":
        model.library.loc.fill_(1.5)
        model.library.scale.fill_(0.7)
    if wide:
        widen(made)
    return model, made


@torch.no_grad()
def widen(guide: Guide) -> None:
    """Makes the Gaussians of ``q(z | x)`` wide, and all of them depend little on the counts."""
    for name, parameter in guide.named_parameters():
        if name.endswith("head.linear.bias"):
            loc, raw = parameter.chunk(2)
            loc.mul_(0.3), raw.add_(0 if "library" in name else 1.5)
        if name.endswith("head.linear.weight"):
            parameter.mul_(0.3)


@pytest.fixture(scope="session")
def a_pair() -> Callable[..., tuple[VAE, Guide]]:
    """The function `make_pair`."""
    return make_pair


class GammaPoisson(Model):
    """A conjugate model: ``library ~ Gamma(a, b)``, ``counts_j ~ Poisson(library * share_j)``."""

    share = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    a, b = torch.tensor([3.0, 0.5], dtype=torch.float64)
    latents = (Latent("library"),)

    def __init__(self) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = 4

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            library = pyro.sample("library", dist.Gamma(self.a, self.b))
            counts = PoissonCounts(library.unsqueeze(-1) * self.share)
            return pyro.sample("counts", counts, obs=batch.counts)


class GammaGuide(Guide):
    """The posterior ``Gamma(a + n, b + 1)`` of `GammaPoisson`; wider for ``precision`` below 1."""

    def __init__(self, precision: float = 1.0) -> None:
        super().__init__()
        self.precision = precision

    sites = ("library",)

    @classmethod
    def fits(cls, model: Model) -> bool:
        return isinstance(model, GammaPoisson)

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> Guide:
        return cls()

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            shape, rate = GammaPoisson.a + batch.library, (GammaPoisson.b + 1).expand(len(batch))
            return pyro.sample("library", dist.Gamma(self.precision * shape, self.precision * rate))


@pytest.fixture(scope="session")
def conjugate() -> Callable[..., tuple[Model, Guide]]:
    """Makes a conjugate model and a guide that is its posterior, or wider or narrower."""
    return lambda precision=1.0: (GammaPoisson().eval(), GammaGuide(precision).eval())


@pytest.fixture
def few(batch_of: Callable[..., Any]) -> Batch:
    """Five observations of four counts in float64, out of a data set of 20."""
    counts = np.array([[0, 2, 0, 1], [2, 0, 0, 0], [0, 0, 0, 1], [1, 1, 3, 0], [0, 4, 2, 1]])
    return batch_of(counts, n_observations=20, dtype=torch.float64)


@pytest.fixture(scope="session")
def fitted_run(two_groups: AnnData) -> Run:
    """A run of two epochs with a latent library, a linear decoder and a label."""
    torch.manual_seed(0)
    model = GMVAE(7, GaussianMixture(2, 3), decoder="linear", library="latent")
    guide = guide_for(model, encoder=Encoder((8,), "standardised"))
    settings: dict[str, Any] = {"epochs": 2, "progress": False, "device": "cpu"}
    return fit(model, guide, two_groups.copy(), label="group", layer="raw", **settings)


@pytest.fixture
def run(fitted_run: Run) -> Run:
    """`fitted_run`, to change at will."""
    return copy.deepcopy(fitted_run)


@pytest.fixture(autouse=True, scope="session")
def _coarse_figures() -> Iterator[None]:
    """Write figures of few pixels: half the time of a figure is that of its pixels."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (elements, figures):
            patch.setattr(module, "DPI", 30)
        yield
