"""The choice of features by deviance, against the plain dense formula."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import xlogy

from vae4counts.data import CountMatrix, DataError, top_features
from vae4counts.data.features import deviance


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


def test_what_cannot_be_chosen_from(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1 or more, not 0"):
        top_features(ad.AnnData(sp.csr_matrix(x)), 0)
    with pytest.raises(DataError, match="log-normalised"):
        top_features(ad.AnnData(sp.csr_matrix(np.log1p(x))), 3)
