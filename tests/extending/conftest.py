"""Parts that are written outside the package, each in a file of its own, as a user would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.inference import Run, fit
from vae4counts.models import VAE, Model
from vae4counts.models.priors import StandardNormal

sys.path.insert(0, str(Path(__file__).parent / "parts"))
from autoregressive import Autoregressive
from beta_negative_binomial import BetaNegativeBinomial
from laplace import Laplace, TanhGuide
from linear_guide import LinearGuide
from two_factors import TwoFactors

N_FEATURES = 5
Pair = tuple[Model, Guide]


def likelihood_pair() -> Pair:
    """A likelihood without derivatives."""
    model = VAE(N_FEATURES, StandardNormal(2), BetaNegativeBinomial())
    return model, guide_for(model, encoder=Encoder((8,)))


def prior_pair() -> Pair:
    """A prior that is no mixture, with a guide that has no mean."""
    model = VAE(N_FEATURES, Laplace(2))
    return model, TanhGuide.for_model(model, Encoder((8,)))


def guide_pair() -> Pair:
    """A guide without an encoder."""
    model = VAE(N_FEATURES, StandardNormal(2))
    return model, LinearGuide.for_model(model, None)


def autoregressive_pair() -> Pair:
    """A model without latents, whose counts depend on each other."""
    model = Autoregressive(N_FEATURES)
    return model, guide_for(model)


def two_factor_pair() -> Pair:
    """A model with two enumerated sites."""
    model = TwoFactors(N_FEATURES)
    return model, guide_for(model)


PAIRS: dict[str, Callable[[], Pair]] = {
    "likelihood": likelihood_pair,
    "prior": prior_pair,
    "guide": guide_pair,
    "autoregressive": autoregressive_pair,
    "two-factors": two_factor_pair,
}


@pytest.fixture(scope="session")
def table() -> AnnData:
    """120 observations of 5 counts in two groups."""
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=120)
    means = np.array([[4.0, 2.0, 1.0, 0.3, 0.5], [0.5, 1.0, 2.0, 3.0, 0.5]])[group]
    counts = rng.poisson(means * rng.gamma(5.0, 0.2, size=(120, 1))).astype(np.float32)
    counts[:, 0] += counts.sum(1) == 0
    obs = pd.DataFrame(
        {"group": np.array(["a", "b"])[group]}, index=[f"picture {i}" for i in range(120)]
    )
    return AnnData(counts, obs, pd.DataFrame(index=["fork", "cake", "cup", "dog", "kite"]))


@pytest.fixture(scope="session", params=PAIRS)
def part(request: pytest.FixtureRequest) -> str:
    """The name of one of the parts."""
    return request.param


@pytest.fixture(scope="session")
def run(part: str, table: AnnData) -> Run:
    """A short fit with that part."""
    torch.manual_seed(0)
    model, guide = PAIRS[part]()
    return fit(model, guide, table, epochs=8, learning_rate=0.01, label="group", progress=False)
