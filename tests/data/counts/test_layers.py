"""Counts in `raw`, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from vae4counts.data import (
    CountFile,
    CountLoader,
    CountMatrix,
    DataError,
    UnknownName,
    counts_of,
    load,
    top_features,
)


@pytest.fixture
def adata(dense: np.ndarray) -> anndata.AnnData:
    """Log-normalised values of some features, in another order, with the counts of all in raw."""
    whole = anndata.AnnData(sp.csr_matrix(dense.astype(np.float32) + 1))
    whole.var_names = [f"g{j}" for j in range(7)]
    whole.raw = whole.copy()
    whole.X = whole.X.log1p()
    return whole[:, [4, 1, 3]].copy()


@pytest.mark.parametrize("out_of_core", [False, True])
def test_raw_is_a_layer(
    adata: anndata.AnnData, dense: np.ndarray, tmp_path: Path, out_of_core: bool
) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    loaded = load(tmp_path / "a.h5ad", out_of_core=out_of_core)
    views = ((loaded, np.arange(12)), (loaded[[5, 2]], [5, 2]))
    for data, rows in views:
        counts = counts_of(data, "raw")
        assert isinstance(counts, CountFile if out_of_core else CountMatrix)
        (batch,) = CountLoader(counts, shuffle=False)
        wanted = dense[np.ix_(rows, [4, 1, 3])] + 1
        np.testing.assert_array_equal(batch.counts.to_dense().numpy(), wanted)
    (batch,) = CountLoader(counts_of(loaded[:, ["g3"]], "raw"), shuffle=False)
    np.testing.assert_array_equal(batch.counts.to_dense().numpy(), dense[:, [3]] + 1)
    with pytest.raises(DataError, match=r"log-normalised.*other layers here: 'raw'"):
        counts_of(loaded)
    assert top_features(loaded, 2, "raw").n_vars == 2


def test_a_layer_called_raw_comes_first(adata: anndata.AnnData) -> None:
    adata.layers["raw"] = np.full(adata.shape, 9)
    assert counts_of(adata, "raw").library.tolist() == [27] * 12


def test_raw_without_a_feature_is_named(adata: anndata.AnnData) -> None:
    adata.var_names = ["g4", "other", "g3"]
    with pytest.raises(DataError, match="raw has no feature 'other'"):
        counts_of(adata, "raw")


def test_no_raw(adata: anndata.AnnData) -> None:
    adata.raw = None
    with pytest.raises(UnknownName, match=r"no layer 'raw'\. Known: none"):
        counts_of(adata, "raw")
