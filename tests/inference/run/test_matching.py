"""Which component of one run became which of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare_components, fit
from vae4counts.inference.run.matching import match_components
from vae4counts.models import GMVAE, VAE, CountMixture, Model
from vae4counts.models.priors import GaussianMixture


def test_renumbered_components_are_matched() -> None:
    shares = np.eye(4)[np.random.default_rng(0).integers(0, 4, 50)]
    order = np.array([2, 0, 3, 1])
    found = match_components(shares, shares[:, order])
    assert list(found["match"]) == [str(list(order).index(k)) for k in range(4)]
    assert (found["agreement"] == 1).all()


def test_components_are_matched_one_to_one() -> None:
    """The largest sum of agreements decides, and what is left over has no match."""
    one, other = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0, 1])
    found = match_components(np.eye(3)[one], np.eye(2)[other])
    assert list(found["match"]) == ["0", None, "1"]
    np.testing.assert_allclose(found["agreement"], [3 / 5, 0, 1])


def fitted(model: Model, adata: AnnData, seed: int) -> Run:
    options = {"seed": seed, "epochs": 2, "progress": False, "device": "cpu"}
    return fit(model, guide_for(model), adata, **options)


@pytest.fixture(scope="module")
def adata() -> AnnData:
    """Two groups of pictures of other things."""
    rng = np.random.default_rng(1)
    rates = np.repeat([[9.0] * 5 + [0.3] * 5, [0.3] * 5 + [9.0] * 5], 60, 0)
    return AnnData(rng.poisson(rates).astype(np.float32))


def test_runs_of_other_kinds_and_seeds(adata: AnnData) -> None:
    torch.manual_seed(0)
    runs = {
        "mixture": fitted(CountMixture(10, 2), adata, 0),
        "plain": fitted(VAE(10), adata, 0),
        "latent": fitted(GMVAE(10, GaussianMixture(2, 3)), adata, 1),
    }
    found = compare_components(runs, adata)
    assert list(found["component"]) == ["0", "1"]
    assert set(found["run"]) == {"latent"}
    assert found["agreement"].between(0, 1).all()
    assert found["observations"].sum() == adata.n_obs
    shares = {name: runs[name].on(adata).summary()[1] for name in ("mixture", "latent")}
    by_hand = match_components(*shares.values())
    np.testing.assert_allclose(found["agreement"], by_hand["agreement"])


def test_runs_without_components(adata: AnnData) -> None:
    runs = {name: fitted(VAE(10), adata, 0) for name in "ab"}
    with pytest.raises(ValueError, match="0 of the runs have components"):
        compare_components(runs, adata)
