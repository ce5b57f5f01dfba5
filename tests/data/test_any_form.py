"""Counts in every form that people hold them in."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

from vae4counts.data import DataError, UnknownName, to_anndata

COUNTS = np.random.default_rng(0).poisson(1.0, (6, 4))


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        np.asfortranarray,
        np.asmatrix,
        lambda x: x.tolist(),
        torch.tensor,
        sp.csr_matrix,
        sp.csc_array,
        sp.coo_matrix,
        pd.DataFrame,
        lambda x: pd.DataFrame(x, index=[f"cell {i}" for i in range(6)], columns=list("abcd")),
        AnnData,
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_forms_of_counts(form: Any) -> None:
    adata = to_anndata(form(COUNTS))
    found = adata.X.toarray() if sp.issparse(adata.X) else np.asarray(adata.X)
    np.testing.assert_array_equal(found, COUNTS)
    assert all(isinstance(name, str) for name in (*adata.obs_names, *adata.var_names))


def test_an_anndata_is_itself() -> None:
    adata = AnnData(COUNTS)
    assert to_anndata(adata) is adata


def test_names_of_a_data_frame_are_kept() -> None:
    adata = to_anndata(pd.DataFrame(COUNTS, columns=[10, 20, 30, 40]))
    assert list(adata.var_names) == ["10", "20", "30", "40"]


def test_a_path(tmp_path: Path) -> None:
    path = tmp_path / "x.h5ad"
    AnnData(sp.csr_matrix(COUNTS.astype("float32"))).write_h5ad(path)
    assert to_anndata(path).shape == to_anndata(str(path)).shape == (6, 4)
    with pytest.raises(UnknownName):
        to_anndata("nothing")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "of type ndarray, shape () and dtype object are no table of counts"),
        (3, "shape ()"),
        (np.zeros(4), "shape (4,)"),
        (np.zeros((2, 2, 2)), "shape (2, 2, 2)"),
        (np.array([["a", "b"]]), "are no table of counts"),
        (SimpleNamespace(mod={"rna": 1, "atac": 2}), "name one of its modalities, data[...]: 'rna"),
    ],
)
def test_what_is_no_table_is_said(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        to_anndata(data)


def test_features_need_names() -> None:
    adata = AnnData(COUNTS)
    adata.var.index = pd.Index(["a", None, "b", "c"], dtype=object)
    with pytest.raises(DataError, match="Feature 1 has no name"):
        to_anndata(adata)
