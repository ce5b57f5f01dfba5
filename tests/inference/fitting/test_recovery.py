"""Parameters of a process that the data were simulated from are found again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.models import GMVAE, VAE
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = pytest.mark.slow

INVERSE_DISPERSION = 4.0


@dataclass
class Process:
    """Data of 1,500 observations of 60 counts, and where they come from."""

    adata: AnnData
    loadings: np.ndarray


def simulate(centres: np.ndarray, spread: float) -> Process:
    """Draws from a mixture of Gaussians, a linear decoder and a negative binomial."""
    rng = np.random.default_rng(0)
    component = rng.integers(len(centres), size=1500)
    z = centres[component] + spread * rng.normal(size=(1500, 3))
    loadings = 0.6 * rng.normal(size=(60, 3))
    log_rates = z @ loadings.T + 0.5 * rng.normal(size=60)
    share = np.exp(log_rates) / np.exp(log_rates).sum(1, keepdims=True)
    mean = share * rng.lognormal(np.log(500), 0.3, size=(1500, 1))
    counts = rng.poisson(mean * rng.gamma(INVERSE_DISPERSION, 1 / INVERSE_DISPERSION, mean.shape))
    obs = pd.DataFrame({"group": component.astype(str)})
    obs.index = obs.index.astype(str)
    return Process(AnnData(counts.astype(np.float32), obs), loadings)


@pytest.fixture(scope="module")
def groups() -> Process:
    """Four groups, well separated."""
    centres = 2.0 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return simulate(centres, spread=0.5)


@pytest.fixture(scope="module")
def continuum() -> Process:
    """No groups: latents from N(0, I)."""
    return simulate(np.zeros((1, 3)), spread=1.0)


def trained(model: VAE, process: Process, epochs: int) -> Run:
    return fit(
        model,
        guide_for(model),
        process.adata,
        label="group",
        epochs=epochs,
        progress=False,
        device="cpu",
    )


@pytest.fixture(scope="module")
def linear(continuum: Process) -> Run:
    """A VAE with a linear decoder, fitted to the continuum."""
    torch.manual_seed(0)
    model = VAE(60, StandardNormal(3), NegativeBinomial("shared"), decoder="linear")
    return trained(model, continuum, 50)


@pytest.mark.parametrize("decoder", ["linear", "mlp"])
def test_components_are_found(decoder: str, groups: Process) -> None:
    prior = GaussianMixture(3, 4)
    run = trained(GMVAE(60, prior, decoder=decoder), groups, 30)
    result = run.evaluate(groups.adata)
    assert result.ari is not None
    assert result.ari > 0.9
    assert result.components_used == 4
    run.annotate(groups.adata)
    obs = groups.adata.obs
    assert adjusted_rand_score(obs["group"], obs["component"]) > 0.9
    assert prior.log_weights().exp().detach().numpy() == pytest.approx(0.25, abs=0.05)


def test_a_sparse_prior_ends_with_as_many_components_as_groups(groups: Process) -> None:
    torch.manual_seed(0)
    run = trained(GMVAE(60, GaussianMixture(3, 12, concentration=0.1)), groups, 30)
    result = run.evaluate(groups.adata)
    assert result.components_used == 4
    assert result.ari is not None
    assert result.ari > 0.9


def test_loadings_are_found_up_to_rotation(linear: Run, continuum: Process) -> None:
    table = linear.loadings()
    assert table is not None
    found = table.to_numpy() - table.to_numpy().mean(0)  # softmax takes a constant away
    wanted = continuum.loadings - continuum.loadings.mean(0)
    angles = scipy.linalg.subspace_angles(found, wanted)
    assert (np.cos(angles) > 0.95).all()
    rotation, _ = scipy.linalg.orthogonal_procrustes(found, wanted)
    unexplained = np.linalg.norm(wanted - found @ rotation) / np.linalg.norm(wanted)
    assert 1 - unexplained**2 > 0.9


def test_dispersion_is_found(linear: Run) -> None:
    found = linear.model.likelihood.own["dispersion"].exp().item()
    assert found == pytest.approx(INVERSE_DISPERSION, rel=0.2)
