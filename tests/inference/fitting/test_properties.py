"""Whatever the counts and the settings: a fit ends, its numbers are finite, and it is read back."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae4counts.data import CountLoader
from vae4counts.guides import GUIDES, INPUTS, Encoder, guide_for
from vae4counts.inference import Run, fit
from vae4counts.models import GMVAE, VAE, Model
from vae4counts.models.library import LIBRARIES
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import PRIORS, MixturePrior

# VAE4COUNTS_THOROUGH=500 looks at as many cases.
CASES = int(os.environ.get("VAE4COUNTS_THOROUGH", "12"))
LAYOUTS = (np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array)
DTYPES = ("int8", "int32", "int64", "uint16", "float32", "float64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]  # of zeros, collapse, layout


@st.composite
def matrices(draw: st.DrawFn) -> AnnData:
    """Counts of any layout and type, mostly zeros, of which some rows and columns are all zero."""
    n_obs, n_vars = draw(st.integers(12, 40)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = random.poisson(draw(st.sampled_from([0.05, 1.0, 20.0])), (n_obs, n_vars))
    counts = counts * (random.random((n_obs, n_vars)) < draw(st.sampled_from([0.1, 0.5, 1.0])))
    counts[0, 0] = draw(st.sampled_from([1, 120]))
    return AnnData(draw(st.sampled_from(LAYOUTS))(counts.astype(draw(st.sampled_from(DTYPES)))))


# Of one feature the others are 10,000 in each row: too much for a library size's first posterior,
# which is an error that says so.
TAME_INPUTS = sorted(INPUTS.keys() - {"counts-per-scale"})
OF_COUNTS = sorted(name for name, kind in LIKELIHOODS.items() if kind.support.counts)


@st.composite
def models(draw: st.DrawFn, n_features: int) -> Model:
    """Any likelihood, prior, decoder and library that go together, small."""
    likelihood = LIKELIHOODS[draw(st.sampled_from(OF_COUNTS))]()
    kind = PRIORS[draw(st.sampled_from(sorted(PRIORS)))]
    mixture = issubclass(kind, MixturePrior)
    prior = kind(draw(st.integers(1, 3)), draw(st.integers(1, 4))) if mixture else kind(2)
    decoder = draw(st.sampled_from(sorted(DECODERS)))
    libraries = ["observed"] if likelihood.library_is_total else list(LIBRARIES)
    make = GMVAE if mixture else VAE
    return make(n_features, prior, likelihood, decoder, draw(st.sampled_from(libraries)))


@given(st.data())
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_any_counts_and_settings(data: st.DataObject) -> None:
    torch.manual_seed(0)
    adata = data.draw(matrices())
    model = data.draw(models(adata.n_vars))
    name = data.draw(st.sampled_from([n for n, guide in GUIDES.items() if guide.fits(model)]))
    encoder = Encoder((4,), inputs=data.draw(st.sampled_from(TAME_INPUTS)))
    batch_size = data.draw(st.integers(1, 50))
    options: dict[str, Any] = {"epochs": 3, "progress": False, "device": "cpu"}
    run = fit(model, guide_for(model, name, encoder), adata, batch_size=batch_size, **options)

    order = [batch.index for batch in CountLoader(adata, batch_size=batch_size).epoch(1)]
    assert sorted(torch.cat(order).tolist()) == list(range(adata.n_obs))
    numbers = run.history.drop(columns="phase")
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()

    before = run.evaluate(adata, num_samples=20)
    assert math.isfinite(before.elbo)
    # the mean of logarithms is below the logarithm of the mean, of the very same draws
    assert before.elbo <= before.iw_log_likelihood + 1e-6
    run.annotate(adata)
    if "responsibilities" in adata.obsm:
        shares = adata.obsm["responsibilities"]
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-4)
    if "X_vae" in adata.obsm:
        assert np.isfinite(adata.obsm["X_vae"]).all()

    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder) / "run")
        after = Run.load(Path(folder) / "run").evaluate(adata, num_samples=20)
    # of one held-out observation there is no standard error: not a number
    np.testing.assert_equal(asdict(after), asdict(before))
