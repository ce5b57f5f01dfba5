"""Every prior of the registry, at sizes of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vae4counts.models.priors import PRIORS, MixturePrior, Prior

VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {} for name in PRIORS},
    "gaussian-mixture, uniform": {"weights": "uniform"},
    "gaussian-mixture, Dirichlet": {"concentration": 0.3},
    "gaussian-mixture, one component": {"n_components": 1},
    "vamp, one component": {"n_components": 1},
}


class FakeEncoder(nn.Module):
    """Any map from counts to means and standard deviations."""

    def __init__(self, n_features: int, n_latent: int) -> None:
        super().__init__()
        self.loc = nn.Linear(n_features, n_latent).double()
        self.scale = nn.Linear(n_features, n_latent).double()

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        return 4 * self.loc(counts), 0.1 + self.scale(counts).exp()


MIXTURES = [name for name in VARIANTS if issubclass(PRIORS[name.split(",")[0]], MixturePrior)]


def build(variant: str, n_latent: int, make: Callable[..., Any]) -> Prior:
    """A prior in float64, of 7 features, with parameters far from their start."""
    kind = PRIORS[variant.split(",")[0]]
    prior = make(kind, **{"n_latent": n_latent} | VARIANTS[variant])
    prior.build(7)
    prior.double()
    prior.share_posterior(FakeEncoder(7, n_latent))
    with torch.no_grad():
        for parameter in prior.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter)
    return prior


@pytest.fixture(params=VARIANTS)
def make_prior(request: pytest.FixtureRequest, make: Callable[..., Any]) -> Callable[[int], Prior]:
    """Makes one of the priors, of as many latents as asked for."""
    return lambda n_latent: build(request.param, n_latent, make)


@pytest.fixture(params=MIXTURES)
def mixture(request: pytest.FixtureRequest, make: Callable[..., Any]) -> Any:
    """One of the priors that are mixtures, of three latents."""
    return build(request.param, 3, make)
