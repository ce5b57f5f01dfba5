"""Data that say little, and batches of odd sizes, train without NaN."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import INPUTS, Encoder, InputScaling, guide_for
from vae4counts.inference import Compute, Run, fit
from vae4counts.models import (
    GMVAE,
    VAE,
    CountMixture,
    GaussianMixtureModel,
    MLPDecoder,
    Model,
)
from vae4counts.models.library import LIBRARIES
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS, GaussianMixture, MixturePrior, StandardNormal

pytestmark = pytest.mark.slow

SPARSE = np.random.default_rng(0).poisson(0.5, size=(60, 7))
SPARSE[10:30] = 0
SPARSE[:, 2] = 0
DATA: dict[str, np.ndarray] = {
    "all zero": np.zeros((60, 7)),
    "all rows equal": np.tile([0, 1, 3, 7, 20, 1, 0], (60, 1)),
    "empty rows and features": SPARSE,
    "one large count": np.where(np.arange(420).reshape(60, 7) == 100, 1_000_000, SPARSE),
}


def fitted(model: Model, guide: Any, counts: np.ndarray, **settings: Any) -> Run:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no counts at all")
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        settings = {"epochs": 3, "progress": False, "device": "cpu"} | settings
        adata = AnnData(counts.astype(np.float32))
        run = fit(model, guide, adata, **settings)
        result = run.evaluate(adata, num_samples=3)
    assert np.isfinite(run.history.drop(columns="phase").to_numpy()).all()
    assert np.isfinite([result.elbo, result.iw_log_likelihood]).all()
    for module in (model, guide):
        for name, parameter in module.named_parameters():
            assert parameter.isfinite().all(), name
    return run


@pytest.mark.parametrize("counts", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_priors_and_libraries(
    library: str | None, prior: str, counts: np.ndarray, make: Callable[..., Any]
) -> None:
    model = VAE(7, make(PRIORS[prior]), library=library)
    fitted(model, guide_for(model, encoder=Encoder((8,))), counts)


@pytest.mark.parametrize("counts", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize("inputs", [*INPUTS, InputScaling(True, True, True)], ids=str)
def test_input_scalings(inputs: Any, counts: np.ndarray) -> None:
    model = VAE(7, StandardNormal(2))
    fitted(model, guide_for(model, encoder=Encoder((8,), inputs)), counts, learning_rate=1e-4)


@pytest.mark.parametrize("counts", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize(
    "likelihood", [name for name, kind in LIKELIHOODS.items() if kind.support.counts]
)
def test_likelihoods(likelihood: str, counts: np.ndarray) -> None:
    model = GMVAE(7, GaussianMixture(2, 3), LIKELIHOODS[likelihood]())
    fitted(model, guide_for(model, "joint", Encoder((8,))), counts)


@pytest.mark.parametrize("counts", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize("kind", [CountMixture, GaussianMixtureModel])
def test_mixtures_without_a_network(kind: type, counts: np.ndarray) -> None:
    model = kind(7, 3)
    fitted(model, guide_for(model), counts)


def test_empty_rows_and_features_are_warned_of() -> None:
    model = VAE(7, StandardNormal(2))
    with pytest.warns(UserWarning, match="20 of 60 observations have no counts|1 of 7 features"):
        fit(model, guide_for(model), AnnData(SPARSE), epochs=1, progress=False, device="cpu")


@pytest.mark.parametrize("batch_size", [1, 47, 48, 49, 10_000])
@pytest.mark.parametrize("guide", ["marginal", "joint"])
def test_batches_of_odd_sizes_with_batch_norm(guide: str, batch_size: int) -> None:
    """48 training observations: a last batch of one, one whole batch, a batch larger than all."""
    counts = np.random.default_rng(0).poisson(2, size=(60, 7)) + 1
    model = GMVAE(7, GaussianMixture(2, 3), decoder=MLPDecoder((8,), norm="batch"))
    q = guide_for(model, guide, Encoder((8,), norm="batch"))
    run = fitted(model, q, counts, batch_size=batch_size, epochs=2)
    assert len(run.split.train) == 48
    assert run.history.step.iloc[-1] % -(-48 // batch_size) == 0


@pytest.mark.parametrize(
    "prior", [name for name in PRIORS if issubclass(PRIORS[name], MixturePrior)]
)
@pytest.mark.parametrize("n_latent", [1, 3])
def test_one_component_and_one_latent(prior: str, n_latent: int, make: Callable[..., Any]) -> None:
    model = GMVAE(7, make(PRIORS[prior], n_latent=n_latent, n_components=1))
    run = fitted(model, guide_for(model, encoder=Encoder((8,))), DATA["one large count"])
    result = run.evaluate(AnnData(np.random.default_rng(0).poisson(2.0, (9, 7)) + 1), num_samples=2)
    assert result.components_used == 1
    assert result.component_perplexity == pytest.approx(1)


def test_bfloat16_trains_and_keeps_parameters_in_float32() -> None:
    counts = np.random.default_rng(0).poisson(300, size=(60, 7))
    model = GMVAE(7, GaussianMixture(2, 3), library="latent")
    run = fitted(model, guide_for(model), counts, compute=Compute(precision="bf16-mixed"))
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
