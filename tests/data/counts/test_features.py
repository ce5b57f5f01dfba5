"""Selection of features by deviance, against the plain dense formula."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import xlogy

from vae4counts.data import (
    CountMatrix,
    DataError,
    UnknownName,
    frequent_features,
    is_on_disk,
    load,
    top_features,
)
from vae4counts.data.counts.feature_scores import deviance


def dense_deviance(x: np.ndarray) -> np.ndarray:
    n = x.sum(1, keepdims=True)
    share = x.sum(0) / n.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = xlogy(x, x / (n * share)) + xlogy(n - x, (n - x) / (n * (1 - share)))
    return 2 * np.nan_to_num(inside).sum(0)


@pytest.fixture
def x() -> np.ndarray:
    random = np.random.default_rng(0)
    x = random.poisson(random.gamma(0.5, 3.0, size=(40, 15))).astype(float)
    x[0, 3] = 500  # an observation that is nearly one feature
    return x


def test_deviance_is_that_of_the_dense_formula(x: np.ndarray) -> None:
    found = deviance(CountMatrix.from_scipy(sp.csr_matrix(x)))
    np.testing.assert_allclose(found, dense_deviance(x), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*no counts at all:UserWarning")
def test_empty_rows_and_features_add_nothing(x: np.ndarray) -> None:
    x[5], x[:, 2] = 0, 0
    found = deviance(CountMatrix.from_scipy(sp.csr_matrix(x)))
    kept = np.delete(np.arange(40), 5)
    np.testing.assert_allclose(found, dense_deviance(x[kept]), rtol=1e-9)
    assert found[2] == 0


def test_a_constant_share_has_no_deviance() -> None:
    sizes = np.arange(1, 9)[:, None]
    found = deviance(CountMatrix.from_scipy(sp.csr_matrix(sizes * [1, 2, 5])))
    np.testing.assert_allclose(found, 0, atol=1e-9)
    alone = deviance(CountMatrix.from_scipy(sp.csr_matrix(sizes)))
    np.testing.assert_allclose(alone, 0, atol=1e-9)


def test_the_best_are_kept_in_their_order(x: np.ndarray) -> None:
    adata = ad.AnnData(sp.csr_matrix(x))
    adata.var_names = [f"f{j}" for j in range(15)]
    best = np.sort(np.argsort(-dense_deviance(x))[:4])
    kept = top_features(adata, 4)
    assert list(kept.var_names) == [f"f{j}" for j in best]
    np.testing.assert_array_equal(kept.X.toarray(), x[:, best])
    assert top_features(adata, 15) is adata
    adata.layers["raw"] = adata.X.copy()
    adata.X = adata.X.log1p()
    assert list(top_features(adata, 4, layer="raw").var_names) == list(kept.var_names)


def test_bad_arguments_are_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1 or more, not 0"):
        top_features(ad.AnnData(sp.csr_matrix(x)), 0)
    with pytest.raises(DataError, match="log-normalised"):
        top_features(ad.AnnData(sp.csr_matrix(np.log1p(x))), 3)


def test_deviance_is_summed_over_chunks(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae4counts.data.counts.feature_scores.CHUNK_SIZE", 7)
    found = deviance(CountMatrix.from_scipy(sp.csr_matrix(x)))
    np.testing.assert_allclose(found, dense_deviance(x), rtol=1e-9)


def test_rare_features_are_left_out(x: np.ndarray) -> None:
    adata = ad.AnnData(sp.csr_matrix(x))
    seen = (x > 0).sum(0)
    least = int(np.median(seen))
    kept = frequent_features(adata, least)
    np.testing.assert_array_equal(kept.X.toarray(), x[:, seen >= least])
    with pytest.raises(DataError, match=f"in 41 observations or more; .* in {seen.max()}"):
        frequent_features(adata, 41)


def test_counts_on_disk_stay_there(x: np.ndarray, tmp_path: Path) -> None:
    adata = ad.AnnData(sp.csr_matrix(x))
    adata.write_h5ad(tmp_path / "a.h5ad")
    stored = load(tmp_path / "a.h5ad", out_of_core=True)
    best = top_features(frequent_features(stored, 20), 4)
    assert is_on_disk(best)
    assert list(best.var_names) == list(top_features(frequent_features(adata, 20), 4).var_names)
    with pytest.raises(DataError, match="needs the counts in memory"):
        top_features(stored, 4, method="seurat-v3")


def test_unknown_methods_are_named(x: np.ndarray) -> None:
    with pytest.raises(UnknownName, match=r"'seurat'.* Did you mean 'seurat-v3'"):
        top_features(ad.AnnData(sp.csr_matrix(x)), 4, method="seurat")


@pytest.mark.skipif(find_spec("skmisc") is None, reason="needs scikit-misc")
def test_seurat_is_scanpys(x: np.ndarray) -> None:
    import scanpy

    with pytest.raises(DataError, match="cannot be fitted"):
        top_features(ad.AnnData(sp.csr_matrix(x)), 4, method="seurat-v3")
    random = np.random.default_rng(0)
    rates = random.lognormal(size=300) * random.gamma(2, size=(100, 300))
    adata = ad.AnnData(sp.csr_matrix(random.poisson(rates).astype(float)))
    adata.var_names = [f"f{j}" for j in range(300)]
    kept = top_features(adata, 40, method="seurat-v3")
    scanpy.pp.highly_variable_genes(adata, n_top_genes=40, flavor="seurat_v3")
    assert list(kept.var_names) == list(adata.var_names[adata.var["highly_variable"]])
