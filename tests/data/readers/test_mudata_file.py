"""MuData's files are read without its package, in memory or not, and none is trusted."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from anndata.io import write_elem
from torch.distributions import constraints

from vae4counts.data import CountFile, DataError, MultiData, UnknownName, load, read_tables

RNA = AnnData(
    sp.csr_matrix(np.arange(1.0, 13).reshape(4, 3)),
    pd.DataFrame({"batch": list("xxyy")}, index=[f"c{i}" for i in range(4)]),
    pd.DataFrame(index=["A", "B", "C"]),
)
PROTEIN = AnnData(
    np.arange(6.0).reshape(3, 2),
    pd.DataFrame(index=["c3", "c0", "new"]),
    pd.DataFrame(index=["A", "P"]),
)
SUPPORTS = {"rna": constraints.nonnegative_integer, "protein": constraints.real}


def write(path: Path, **mod: AnnData) -> Path:
    """Write a file as mudata 0.3 does."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "MuData"
        file.attrs["axis"] = 0
        for name, adata in mod.items():
            write_elem(file.require_group("mod"), name, adata)
        names = pd.Index([]).append([adata.obs_names for adata in mod.values()]).unique()
        file["mod"].attrs["mod-order"] = list(mod)
        write_elem(file, "obs", pd.DataFrame({"donor": "d"}, index=names[::-1]))
        write_elem(file, "obsm", {"X_umap": np.zeros((len(names), 2)), "rna": np.ones(len(names))})
        write_elem(file, "uns", {"title": "cells"})
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.h5mu", rna=RNA, protein=PROTEIN)


@pytest.mark.parametrize("out_of_core", [False, True])
def test_modalities(path: Path, out_of_core: bool) -> None:
    data = load(path, out_of_core=out_of_core)
    assert isinstance(data, MultiData)
    assert list(data.mod) == ["rna", "protein"]
    assert list(data.obs_names) == ["new", "c3", "c2", "c1", "c0"]  # as the file's own table
    assert data.obs["donor"].tolist() == ["d"] * 5
    assert data.obs["batch"].tolist()[1:] == ["y", "y", "x", "x"]
    assert list(data.obsm) == ["X_umap"]
    assert data.uns["title"] == "cells"
    tables = read_tables(data, SUPPORTS)
    assert isinstance(tables.members["rna"], CountFile) is out_of_core
    (batch,) = tables.batches(8)
    rna, protein = batch.tables.values()
    assert rna.rows.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(rna.values.to_dense(), RNA.X.toarray()[::-1])  # noqa: PD011
    assert protein.rows.tolist() == [0, 1, 4]
    np.testing.assert_array_equal(protein.values, PROTEIN.X[[2, 0, 1]])


def test_some_modalities(path: Path, tmp_path: Path) -> None:
    assert list(load(path, modalities=["protein"]).mod) == ["protein"]
    with pytest.raises(UnknownName, match="no modality 'adt'"):
        load(path, modalities=["adt"])
    with pytest.raises(DataError, match="has several modalities: transpose"):
        load(path, transpose=True)
    one = load(write(tmp_path / "one.h5mu", rna=RNA))
    assert isinstance(one, AnnData)
    with pytest.raises(DataError, match="no modalities to choose"):
        load(tmp_path / "one.h5mu", modalities=["rna"])


def test_what_cannot_be_read(path: Path, tmp_path: Path) -> None:
    twice = RNA.copy()
    twice.obs_names = ["a", "b", "b", "c"]
    write(tmp_path / "twice.h5mu", rna=twice, protein=PROTEIN)
    with pytest.raises(DataError, match=r"twice\.h5mu: Modality 'rna' names .* 'b' twice"):
        load(tmp_path / "twice.h5mu")
    with h5py.File(path, "r+") as file:
        file.attrs["axis"] = 1
    with pytest.raises(DataError, match=r"a\.h5mu share features"):
        load(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"Cannot read .*a\.h5mu as an \.h5mu file"):
        load(path)


@pytest.mark.parametrize("out_of_core", [False, True])
def test_no_modality_may_be_in_another_file(path: Path, out_of_core: bool) -> None:
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        write_elem(file, "rna", RNA)
    with h5py.File(path, "r+") as file:
        del file["mod/rna"]
        file["mod/rna"] = h5py.ExternalLink(str(secret), "rna")
    with pytest.raises(DataError, match="'mod/rna' is a link to another file"):
        load(path, out_of_core=out_of_core)


def test_a_name_with_a_slash_in_a_modality(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        write_elem(file["mod/rna/layers"].create_group("a"), "b", RNA.X)
    with pytest.raises(DataError, match=r"layers\['a/b'\], which anndata cannot read"):
        load(path)
