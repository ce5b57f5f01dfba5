# ruff: noqa: PD011 (`values` are a field of CountMatrix, not of a pandas object)
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae4counts.data import CountMatrix, DataError, UnknownName


def to_dense(counts: CountMatrix) -> np.ndarray:
    return counts.batch(torch.arange(len(counts))).counts.to_dense().numpy()


FORMS: dict[str, Callable[[np.ndarray], object]] = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "dense": np.asarray,
}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layer", [None, "raw"])
def test_from_anndata_takes_any_form(
    dense: np.ndarray, form: str, dtype: str, layer: str | None
) -> None:
    wanted = dense.astype(dtype)
    if layer is None:
        adata = anndata.AnnData(X=FORMS[form](wanted))
    else:
        noise = np.full(dense.shape, 0.5, dtype=np.float32)
        adata = anndata.AnnData(X=noise, layers={layer: FORMS[form](wanted)})
    counts = CountMatrix.from_anndata(adata, layer=layer)
    np.testing.assert_array_equal(to_dense(counts), wanted)
    np.testing.assert_array_equal(counts.library.numpy(), wanted.sum(axis=1))
    assert (counts.n_observations, len(counts), counts.n_features) == (12, 12, 7)
    assert counts.device == torch.device("cpu")
    dtypes = [t.dtype for t in (counts.starts, counts.indices, counts.values, counts.library)]
    assert dtypes == [torch.int64, torch.int32, torch.float32, torch.float32]


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">f8", ">i2", ">u4", ">i8", "longdouble"])
def test_numbers_that_scipy_does_not_know(dense: np.ndarray, dtype: str) -> None:
    counts = CountMatrix.from_scipy(dense.astype(dtype))
    np.testing.assert_array_equal(to_dense(counts), dense)
    counts = CountMatrix.from_anndata(anndata.AnnData(X=dense.astype(dtype)))
    np.testing.assert_array_equal(to_dense(counts), dense)


def test_views_and_backed_files(dense: np.ndarray, tmp_path: Path) -> None:
    adata = anndata.AnnData(X=sp.csr_matrix(dense.astype(np.float32)))
    np.testing.assert_array_equal(to_dense(CountMatrix.from_anndata(adata[2:9])), dense[2:9])
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(to_dense(CountMatrix.from_anndata(backed)), dense)
    backed.file.close()


def test_entries_are_made_canonical_and_the_source_is_left_alone() -> None:
    # row 0: unsorted, with 200 + 100 stored separately (uint8 would wrap) and a stored zero
    data = np.array([200, 0, 100, 3, 1], dtype=np.uint8)
    source = sp.csr_matrix((data, np.array([2, 1, 2, 0, 1]), np.array([0, 4, 5])), shape=(2, 3))
    counts = CountMatrix.from_scipy(source)
    assert (counts.starts.tolist(), counts.ends.tolist()) == ([0, 2], [2, 3])
    assert counts.indices.tolist() == [0, 2, 1]
    assert counts.values.tolist() == [3.0, 300.0, 1.0]
    assert counts.library.tolist() == [303.0, 1.0]
    assert source.data.tolist() == [200, 0, 100, 3, 1]
    counts.values.fill_(9)
    assert source.data.tolist() == [200, 0, 100, 3, 1]


def test_float32_source_shares_no_memory(dense: np.ndarray) -> None:
    source = sp.csr_matrix(dense.astype(np.float32))
    counts = CountMatrix.from_scipy(source)
    source.data[:] = 99
    np.testing.assert_array_equal(to_dense(counts), dense)


def test_read_only_source(dense: np.ndarray) -> None:
    source = sp.csr_matrix(dense.astype(np.float32))
    for array in (source.data, source.indices, source.indptr):
        array.setflags(write=False)
    np.testing.assert_array_equal(to_dense(CountMatrix.from_scipy(source)), dense)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batch_equals_dense_rows(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    g = data.draw(st.integers(1, 5))
    cells = st.lists(st.sampled_from([0, 0, 0, 1, 7]), min_size=n * g, max_size=n * g)
    dense = np.array(data.draw(cells), dtype=np.float32).reshape(n, g)
    index = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), max_size=10)), dtype=torch.int64)
    csr = sp.csr_matrix(dense)
    whole = CountMatrix(
        starts=torch.tensor(csr.indptr[:-1], dtype=torch.int64),
        ends=torch.tensor(csr.indptr[1:], dtype=torch.int64),
        indices=torch.tensor(csr.indices),
        values=torch.tensor(csr.data),
        library=torch.tensor(dense.sum(axis=1)),
        n_features=g,
    )
    batch = whole.batch(index)
    assert batch.counts.layout == torch.sparse_csr
    assert batch.counts.shape == (len(index), g)
    np.testing.assert_array_equal(batch.counts.to_dense().numpy(), dense[index.numpy()])
    np.testing.assert_array_equal(batch.library.numpy(), dense.sum(axis=1)[index.numpy()])
    np.testing.assert_array_equal(to_dense(whole.subset(index)), dense[index.numpy()])


def test_batch_has_small_indices_and_keeps_the_invariants(dense: np.ndarray) -> None:
    counts = CountMatrix.from_scipy(dense)
    index = torch.tensor([11, 0, 5, 5])
    batch = counts.batch(index)
    assert batch.counts.crow_indices().dtype == torch.int32
    assert batch.counts.col_indices().dtype == torch.int32
    assert batch.counts.dtype == torch.float32
    torch.sparse_csr_tensor(
        batch.counts.crow_indices(),
        batch.counts.col_indices(),
        batch.counts.values(),
        size=batch.counts.shape,
        check_invariants=True,
    )
    assert torch.equal(batch.index, index)
    assert batch.n_observations == 12
    assert len(batch) == 4


@pytest.mark.parametrize("rows", [[3, 1, 8], np.array([3, 1, 8]), torch.tensor([3, 1, 8])])
def test_subset_is_a_data_set(dense: np.ndarray, rows: object) -> None:
    adata = anndata.AnnData(
        X=dense.astype(np.float32),
        obs=pd.DataFrame({"depth": np.arange(12.0)}, index=[f"o{i}" for i in range(12)]),
    )
    part = CountMatrix.from_anndata(adata, covariates=["depth"]).subset(rows)  # type: ignore[arg-type]
    np.testing.assert_array_equal(to_dense(part), dense[[3, 1, 8]])
    batch = part.batch(torch.tensor([2]))
    assert batch.n_observations == 3
    np.testing.assert_array_equal(batch.counts.to_dense().numpy(), dense[[8]])
    assert batch.covariates["depth"].tolist() == [8.0]


def test_subset_takes_a_read_only_array(dense: np.ndarray) -> None:
    rows = np.array([1, 2])
    rows.setflags(write=False)
    assert len(CountMatrix.from_scipy(dense).subset(rows)) == 2


def test_covariates(dense: np.ndarray) -> None:
    obs = pd.DataFrame({"site": list("yxz" * 4), "depth": np.arange(12)})
    obs.index = obs.index.astype(str)
    adata = anndata.AnnData(X=dense.astype(np.float32), obs=obs)
    counts = CountMatrix.from_anndata(adata, covariates=["site", "depth"])
    columns = counts.batch(torch.tensor([0, 1, 2])).covariates
    assert columns["site"].tolist() == [1, 0, 2]
    assert columns["depth"].tolist() == [0.0, 1.0, 2.0]
    counts = CountMatrix.from_anndata(adata, covariates={"site": ["w", "x", "y", "z"]})
    assert counts.batch(torch.tensor([0, 1, 2])).covariates["site"].tolist() == [2, 1, 3]


def test_unknown_layer_and_column_list_those_that_exist(dense: np.ndarray) -> None:
    adata = anndata.AnnData(X=dense.astype(np.float32), layers={"counts": dense})
    adata.obs["site"] = "x"
    with pytest.raises(UnknownName, match=r"no layer 'count'\. Did you mean 'counts'\?"):
        CountMatrix.from_anndata(adata, layer="count")
    with pytest.raises(UnknownName, match=r"no column 'batch'\. Known: 'site'"):
        CountMatrix.from_anndata(adata, covariates=["batch"])


@pytest.mark.parametrize(
    "matrix", [np.arange(3), np.array([["a"]]), None, np.ones((2, 2), complex)]
)
def test_only_matrices_of_numbers_are_accepted(matrix: object) -> None:
    with pytest.raises(DataError, match="not a matrix of numbers"):
        CountMatrix.from_scipy(matrix)


def test_to_the_same_device_copies_nothing(dense: np.ndarray) -> None:
    counts = CountMatrix.from_scipy(dense)
    assert counts.to("cpu").values.data_ptr() == counts.values.data_ptr()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_are_cut_on_cuda(dense: np.ndarray) -> None:
    counts = CountMatrix.from_scipy(dense)
    index = torch.tensor([11, 0, 5, 5])
    batch = counts.to("cuda").batch(index)
    assert {batch.counts.device.type, batch.library.device.type, batch.index.device.type} == {
        "cuda"
    }
    assert torch.equal(batch.counts.to_dense().cpu(), counts.batch(index).counts.to_dense())


@pytest.mark.slow
def test_import_is_silent_and_leaves_scanpy_out() -> None:
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import torch\n"
        "from vae4counts.data import CountMatrix\n"
        "torch.eye(2).to_sparse_csr()\n"
        "assert 'scanpy' not in sys.modules"
    )
    done = subprocess.run(  # noqa: S603 (our own interpreter and program)
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
