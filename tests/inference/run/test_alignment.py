"""New data that are nearly right are matched with the model's features."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData, read_h5ad

from vae4counts.data import CountMatrix, DataError, UnknownName, load
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.run.alignment import align
from vae4counts.inference.run.fingerprint import fingerprint, fingerprint_like
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal

NAMES = [f"g{i}" for i in range(10)]


def table(names: list[str], *, dense: bool = False, layer: str | None = None) -> AnnData:
    counts = np.random.default_rng(0).poisson(1.0, (6, len(names))).astype(np.float32)
    adata = AnnData(counts if dense else sp.csr_matrix(counts))
    adata.var_names = names
    adata.obs["k"] = ["a", "b"] * 3
    if layer:
        adata.layers[layer] = adata.X.copy()
    return adata


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("layer", [None, "raw"])
def test_a_few_missing_features_have_no_counts(dense: bool, layer: str | None) -> None:
    data = table([*NAMES[8:1:-1], "other"], dense=dense, layer=layer)  # g0, g1 and g9 are missing
    with pytest.raises(DataError, match=r"3 of the model's 10 features \(30%\) are missing"):
        align(data, NAMES, layer)
    data = table([*NAMES[9:1:-1], "other"], dense=dense, layer=layer)
    with pytest.warns(UserWarning, match=r"2 of the model's 10 features \(20%\).*'g0'.*no counts"):
        found = align(data, NAMES, layer)
    assert list(found.var_names) == NAMES
    counts = sp.csr_matrix(found.X if layer is None else found.layers[layer]).toarray()
    assert not counts[:, :2].any()
    expected = sp.csr_matrix(data[:, NAMES[2:]].X).toarray()
    np.testing.assert_array_equal(counts[:, 2:], expected)
    assert list(found.obs["k"]) == ["a", "b"] * 3


def test_raw_is_a_layer_here_too() -> None:
    data = table(NAMES[1:])
    data.raw = table([*NAMES[:0:-1], "more"])  # in another order, and more of them
    with pytest.warns(UserWarning, match="1 of the model's 10 features"):
        found = align(data, NAMES, "raw")
    assert list(found.var_names) == NAMES
    expected = data.raw[:, NAMES[1:]].X.toarray()
    np.testing.assert_array_equal(found.layers["raw"][:, 1:].toarray(), expected)
    assert not found.layers["raw"][:, 0].toarray().any()


def test_the_layer_has_to_be_there() -> None:
    with pytest.raises(UnknownName, match="counts"):
        align(table(NAMES[1:]), NAMES, "counts")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_names_cannot_be_matched() -> None:
    data = table(["g1", "g1", *NAMES[2:]])
    assert align(data, data.var_names) is data
    with pytest.raises(DataError, match=r"1 names of features are repeated in the data.*'g1'"):
        align(data, NAMES)


@pytest.mark.filterwarnings("ignore:.*have no counts", "ignore:the features of the data")
def test_every_question_is_answered_with_a_feature_missing(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    run = fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu")
    few = adata[:, 1:].copy()
    with pytest.raises(DataError, match="2 of the model's 7 features"):
        run.evaluate(adata[:, 2:].copy())
    zeros = adata.copy()
    zeros.X = zeros.X.toarray()
    zeros.X[:, 0] = 0
    with pytest.warns(UserWarning, match="1 of the model's 7 features"):
        found = run.evaluate(few, num_samples=5)
    assert found.elbo == pytest.approx(run.evaluate(zeros, num_samples=5).elbo, rel=1e-6)
    with pytest.warns(UserWarning, match="1 of the model's 7 features"):
        run.annotate(few, denoised=True)
    assert few.layers["denoised"].shape == few.shape


def test_other_counts_of_the_same_totals_are_other_data(run: Run, adata: AnnData) -> None:
    """As after rarefaction: names and totals are the same."""
    assert run.on(adata).is_fitted
    other = adata.copy()
    raw = sp.csr_matrix(other.layers["raw"] if run.layer else other.X).toarray()
    counts = raw[:, ::-1].copy()
    if run.layer:
        other.layers[run.layer] = counts
    else:
        other.X = counts
    assert not run.on(other).is_fitted


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_a_fingerprint_does_not_depend_on_the_form(form: Any) -> None:
    data = table(NAMES, dense=True)
    names = pd.Index([f"c{i}" for i in range(6)])
    wanted = fingerprint(names, CountMatrix.from_scipy(data.X))
    assert fingerprint(names, CountMatrix.from_scipy(form(data.X).astype(np.int64))) == wanted
    assert wanted.startswith("counts:")
    assert fingerprint_like("abc", names, CountMatrix.from_scipy(data.X)) != wanted


@pytest.mark.parametrize(
    "names",
    [
        ["c"] * 6,
        ["a", "b", "a", "b", "c", "d"],  # two batches side by side
        ["a", "a-1", "a", "b", "c", "d"],
        [0, 0, 1, 1, 2, 2],
    ],
)
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_repeated_names_are_known_again_from_a_file(names: list[Any], tmp_path: Path) -> None:
    data = table(NAMES)
    data.obs.index = pd.Index(names)
    known = fingerprint(data.obs_names, CountMatrix.from_anndata(data))
    data.obs_names = data.obs_names.astype(str)
    data.write_h5ad(tmp_path / "a.h5ad")
    for again in (load(tmp_path / "a.h5ad"), read_h5ad(tmp_path / "a.h5ad")):
        assert fingerprint(again.obs_names, CountMatrix.from_anndata(again)) == known


def test_names_may_be_numbers(run: Run, adata: AnnData) -> None:
    """As those of a table without a header are, which a run keeps as text."""
    adata.var_names = [str(j) for j in range(7)]
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2), decoder="linear")
    fitted = fit(model, guide_for(model), adata, epochs=1, layer="raw", progress=False)
    numbered = adata.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # AnnData wants text
        numbered.var.index = pd.RangeIndex(7)
    assert fitted.knows(numbered)
    fitted.annotate(numbered, denoised=True)
    assert np.isfinite(numbered.varm["loadings"]).all()
    assert np.isfinite(numbered.layers["denoised"]).all()
