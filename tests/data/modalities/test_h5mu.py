"""What is written is read again, here and by mudata where it is installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from vae4counts.data import MultiData, load, write_h5mu


@pytest.fixture
def path(multi: MultiData, tmp_path: Path) -> Path:
    multi.obsm["X_vae"] = np.arange(12.0).reshape(6, 2)
    multi.uns["title"] = "cells"
    write_h5mu(multi, tmp_path / "a.h5mu")
    return tmp_path / "a.h5mu"


def test_what_is_written_is_read_again(path: Path, multi: MultiData) -> None:
    again = load(path)
    assert isinstance(again, MultiData)
    assert list(again.mod) == list(multi.mod)
    assert again.uns["title"] == "cells"
    np.testing.assert_array_equal(again.obsm["X_vae"], multi.obsm["X_vae"])
    assert list(again.obs_names) == list(multi.obs_names)
    assert again.obs.columns.tolist() == multi.obs.columns.tolist()
    assert again.obs["batch"].tolist() == multi.obs["batch"].tolist()
    for name, adata in multi.mod.items():
        np.testing.assert_array_equal(again.rows(name), multi.rows(name))
        pd.testing.assert_index_equal(again[name].var_names, adata.var_names)
    np.testing.assert_array_equal(again["rna"].X.toarray(), multi["rna"].X.toarray())
    np.testing.assert_array_equal(again["protein"].X, multi["protein"].X)


def test_the_format_is_that_of_mudata(path: Path) -> None:
    assert path.read_bytes()[:6] == b"MuData"
    with h5py.File(path) as file:
        assert file["obsmap/protein"][:].tolist() == [3, 2, 0, 1, 0, 4]
        assert file["varmap/protein"][:].tolist() == [0, 0, 0, 1, 2]
        assert list(file["mod"].attrs["mod-order"]) == ["rna", "protein"]


def test_mudata_reads_it(path: Path, multi: MultiData) -> None:
    mudata = pytest.importorskip("mudata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        read = mudata.read_h5mu(path)
    assert list(read.mod) == ["rna", "protein"]
    assert list(read.obs_names) == list(multi.obs_names)
    np.testing.assert_array_equal(read.obsm["X_vae"], multi.obsm["X_vae"])
