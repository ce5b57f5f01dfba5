from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vae4counts.data import CountLoader, CountMatrix, DataError, counts_of, load


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_h5ad(tmp_path: Path, dense: np.ndarray, form: type) -> None:
    adata = anndata.AnnData(
        X=form(dense.astype(np.float64)),
        obs=pd.DataFrame({"label": ["a", "b"] * 6}, index=[f"c{i}" for i in range(12)]),
        layers={"half": dense / 2},
    )
    path = tmp_path / "a.h5ad"
    adata.write_h5ad(path)
    for source in (path, str(path)):
        read = load(source)
        np.testing.assert_array_equal(read.X.toarray(), dense)
        assert (read.X.format, read.X.dtype) == ("csr", np.int32)
        assert read.obs["label"].tolist() == ["a", "b"] * 6
        np.testing.assert_array_equal(read.layers["half"], dense / 2)


def test_h5ad_with_repeated_names_and_without_x(tmp_path: Path, dense: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="not unique"):
        adata = anndata.AnnData(
            obs=pd.DataFrame(index=["c"] * 12),
            var=pd.DataFrame(index=list("aabcdef")),
            layers={"counts": sp.csr_matrix(dense)},
        )
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = load(tmp_path / "a.h5ad")
    assert list(read.obs_names[:3]) == ["c", "c-1", "c-2"]
    assert list(read.var_names[:3]) == ["a", "a-1", "b"]
    assert len(CountMatrix.from_anndata(read, layer="counts")) == 12
    with pytest.raises(DataError, match=r"^X holds nothing\. .* layers here: 'counts'"):
        CountMatrix.from_anndata(read)


def test_broken_h5ad_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["obs"] = 3
    for name in ("text.h5ad", "other.h5ad"):
        with pytest.raises(DataError, match=rf"Cannot read .*{name} as an \.h5ad file: "):
            load(tmp_path / name)


@pytest.fixture
def adata() -> anndata.AnnData:
    dense = np.arange(1, 13).reshape(4, 3)
    return anndata.AnnData(
        sp.csr_matrix(dense),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(4)]),
        var=pd.DataFrame(index=["a", "b", "c"]),
    )


def test_column_indices_out_of_range(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    for wrong in (3, 10**6, -1):
        with h5py.File(tmp_path / "a.h5ad", "r+") as file:
            file["X/indices"][4] = wrong
        with pytest.raises(DataError, match=rf"a\.h5ad.*column index {wrong}, .* 3 columns"):
            load(tmp_path / "a.h5ad")
    broken = sp.csr_matrix((np.ones(1), np.array([7]), np.array([0, 1])), shape=(1, 9))
    broken.indices[0] = 9
    with pytest.raises(DataError, match="column index 9"):
        CountMatrix.from_scipy(broken)
    with pytest.raises(DataError, match="row index 9"):
        CountMatrix.from_scipy(broken.T)


def test_row_starts_that_make_no_sense(adata: anndata.AnnData, tmp_path: Path) -> None:
    for place, value in ((1, 9), (4, 7), (0, 1)):
        adata.write_h5ad(tmp_path / "a.h5ad")
        with h5py.File(tmp_path / "a.h5ad", "r+") as file:
            file["X/indptr"][place] = value
        for out_of_core in (False, True):
            with pytest.raises(DataError, match="X is broken: its indptr does not go"):
                CountLoader(load(tmp_path / "a.h5ad", out_of_core=out_of_core))


def test_a_truncated_store(adata: anndata.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    adata.write_h5ad(path)
    whole = path.read_bytes()
    for kept in (len(whole) - 100, len(whole) // 2, 100, 0):
        path.write_bytes(whole[:kept])
        for out_of_core in (False, True):
            with pytest.raises(DataError, match=r"Cannot read .*a\.h5ad as an \.h5ad file"):
                load(path, out_of_core=out_of_core)


def test_counts_as_strings(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        del file["X"]
        anndata.io.write_elem(file, "X", np.array([["1", "2", "3"]] * 4, dtype=object))
    with pytest.raises(DataError, match=r"a\.h5ad.* not a matrix of numbers"):
        load(tmp_path / "a.h5ad")


def test_unused_and_empty_categories(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.obs["site"] = pd.Categorical(list("aabb"), categories=["z", "b", "y", "a"])
    adata.obs["none"] = pd.Categorical([None] * 4)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for out_of_core in (False, True):
        counts = load(tmp_path / "a.h5ad", out_of_core=out_of_core)
        (batch,) = CountLoader(counts_of(counts, covariates=["site"]), shuffle=False)
        assert batch.covariates["site"].tolist() == [0, 0, 1, 1]
        with pytest.raises(DataError, match="'none' has no value at row 0"):
            counts_of(counts, covariates=["none"])


@pytest.mark.parametrize("form", [sp.csr_matrix, np.asarray])
@pytest.mark.parametrize(
    ("slot", "name"),
    [("layers", "counts/raw"), ("obsm", "X/pca"), ("varm", "a/b"), ("obsp", "near/far")],
)
@pytest.mark.parametrize("out_of_core", [False, True])
def test_a_slash_in_a_name_is_said(
    tmp_path: Path, dense: np.ndarray, slot: str, name: str, form: type, out_of_core: bool
) -> None:
    adata = anndata.AnnData(X=sp.csr_matrix(dense.astype(np.float32)))
    values = form(np.ones((adata.n_vars if slot == "varm" else 12, 12 if slot == "obsp" else 7)))
    getattr(adata, slot)["plain"] = values
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:  # as versions before 0.13 write it
        file[slot].move("plain", name)
    with pytest.raises(DataError, match=rf"a\.h5ad has {slot}\['{name}'\].*slash"):
        load(tmp_path / "a.h5ad", out_of_core=out_of_core)
