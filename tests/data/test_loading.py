from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from vae4counts.data import DATASETS, CountMatrix, DataError, UnknownName, load
from vae4counts.data.loading import _READERS


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


def test_unknown_name_suggests_one() -> None:
    with pytest.raises(UnknownName, match=r"'pbmc68'\. Did you mean 'pbmc68k'\?"):
        load("pbmc68")


@pytest.mark.parametrize("name", ["absent.h5ad", "absent/folder"])
def test_missing_file_says_what_is_accepted(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path / name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    assert all(known in message for known in [*DATASETS, *_READERS, "10x folder"])


def test_unknown_suffix_says_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "counts.xlsx"
    path.touch()
    with pytest.raises(DataError, match=r"what .*counts\.xlsx holds\. Accepted: .*\.h5ad"):
        load(path)


@pytest.mark.parametrize("form", ["gztar", "zip"])
def test_an_archive_of_a_10x_folder(tmp_path: Path, dense: np.ndarray, form: str) -> None:
    inside = tmp_path / "packed" / "filtered"
    inside.mkdir(parents=True)
    scipy.io.mmwrite(inside / "matrix.mtx", sp.coo_matrix(dense.T))
    (inside / "genes.tsv").write_text("".join(f"id{j}\tgene{j}\n" for j in range(7)))
    (inside / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(12)))
    path = shutil.make_archive(str(tmp_path / "counts"), form, tmp_path / "packed")
    adata = load(path)
    np.testing.assert_array_equal(adata.X.toarray(), dense)
    assert adata.obs_names[3] == "cell3"
    shutil.copytree(inside, tmp_path / "packed" / "raw")
    path = shutil.make_archive(str(tmp_path / "two"), form, tmp_path / "packed")
    with pytest.raises(DataError, match=r"two\..* holds 2 folders with a matrix\.mtx, not one"):
        load(path)
