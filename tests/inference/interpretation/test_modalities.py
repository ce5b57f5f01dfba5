"""Shared and own factors of several tables, on simulated data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import fit
from vae4counts.inference.interpretation.modalities import sparse_axes
from vae4counts.models import LinearDecoder, Modality, MultiVAE
from vae4counts.models.likelihoods import Gaussian, Poisson
from vae4counts.models.priors import StandardNormal


def test_axes_that_few_tables_know_are_found() -> None:
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(4, 4)))[0]
    known = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])  # one common, one of each table
    loadings = [random.normal(size=(20, 4)) * has @ basis.T for has in known]
    products = np.stack([own.T @ own / np.square(own).sum() for own in loadings])
    found = sparse_axes(products)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.abs(found.T @ basis).max(0), 1, atol=1e-4)


@pytest.mark.slow
def test_shared_and_own_factors_are_told_apart() -> None:
    random = np.random.default_rng(3)
    n, g = 600, 30
    z = random.normal(size=(n, 3))  # common to both tables, of the counts alone, of the levels
    loadings = random.normal(size=(g, 2)) * 0.6
    counts = random.poisson(np.exp(1.0 + z[:, [0, 1]] @ loadings.T))
    values = z[:, [0, 2]] @ random.normal(size=(g, 2)).T + 0.5 * random.normal(size=(n, g))
    adata = AnnData(counts.astype(np.float32), obs=pd.DataFrame(index=[f"o{i}" for i in range(n)]))
    adata.obsm["levels"] = pd.DataFrame(
        values.astype(np.float32), adata.obs_names, [f"v{j}" for j in range(g)]
    )
    model = MultiVAE(
        {
            "counts": Modality(g, Poisson(), LinearDecoder(), library=None),
            "levels": Modality(g, Gaussian(), LinearDecoder()),
        },
        StandardNormal(3),
    )
    guide = guide_for(model, encoder=Encoder((32,)))
    run = fit(
        model,
        guide,
        adata,
        modalities={"counts": "X", "levels": "obsm/levels"},
        epochs=200,
        progress=False,
    )
    look = run.interpret(adata)
    axes = look.shared_axes()
    shares = axes.div(axes.sum(axis=1), axis=0)["counts"]
    own, other, common = shares.idxmax(), shares.idxmin(), (shares - 0.5).abs().idxmin()
    assert {own, other, common} == set(axes.index)
    assert shares[own] > 0.98
    assert shares[other] < 0.02
    assert 0.2 < shares[common] < 0.8
    means = run.on(adata).summary()[0]
    assert means is not None
    along = (means / means.std(0)) @ axes.attrs["directions"].to_numpy()
    order = [list(axes.index).index(name) for name in (common, own, other)]
    found = [abs(np.corrcoef(along[:, a], z[:, k])[0, 1]) for k, a in enumerate(order)]
    assert min(found) > 0.9
