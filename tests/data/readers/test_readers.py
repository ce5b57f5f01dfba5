"""Every reader against a plain dense reading of the same made counts, and on broken stores."""

from __future__ import annotations

import gzip
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from vae4counts.data import CountLoader, CountMatrix, DataError, Split, load, random_split

Named = pd.DataFrame


def write_table(frame: Named, path: Path) -> None:
    frame.to_csv(path, sep="\t" if ".tsv" in path.name else ",")


def write_mtx(frame: Named, path: Path) -> None:
    compressed = path.suffix == ".gz"
    with (gzip.open if compressed else open)(path, "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(frame.to_numpy()))


def write_folder(frame: Named, path: Path, end: str = "", features: str = "genes") -> None:
    path.mkdir()
    write_mtx(frame.T, path / f"matrix.mtx{end}")
    opener = gzip.open if end else open
    with opener(path / f"{features}.tsv{end}", "wt", encoding="utf-8", newline="\n") as file:
        file.writelines(f"id{name}\t{name}\tGene Expression\n" for name in frame.columns)
    with opener(path / f"barcodes.tsv{end}", "wt", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}\n" for name in frame.index)


def write_10x_h5(frame: Named, path: Path) -> None:
    csr = sp.csr_matrix(frame.to_numpy())
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(csr, name)
        group["shape"] = np.array(frame.shape[::-1], dtype=np.int32)
        group["barcodes"] = np.array([name.encode() for name in frame.index])
        for name in ("id", "name", "feature_type", "genome"):
            group[f"features/{name}"] = np.array([name.encode() for name in frame.columns])


def write_store(form: Callable[[np.ndarray], object]) -> Callable[[Named, Path], None]:
    def write(frame: Named, path: Path) -> None:
        adata = anndata.AnnData(
            form(frame.to_numpy()),
            pd.DataFrame(index=frame.index),
            pd.DataFrame(index=frame.columns),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the format of zarr that is written by default
            (adata.write_zarr if path.suffix == ".zarr" else adata.write_h5ad)(path)

    return write


def unsorted(dense: np.ndarray) -> sp.csr_matrix:
    """Each row's entries from last to first, the largest of them stored in two halves."""
    rows, columns = np.nonzero(dense)
    values = dense[rows, columns].astype(np.int64)
    rows, columns = np.repeat(rows, 2)[::-1], np.repeat(columns, 2)[::-1]
    halves = np.stack([values // 2, values - values // 2], axis=1).ravel()[::-1]
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return sp.csr_matrix((halves[order], columns[order], indptr), shape=dense.shape)


WRITERS: dict[str, Callable[[Named, Path], None]] = {
    "a.csv": write_table,
    "a.tsv": write_table,
    "a.csv.gz": write_table,
    "a.tsv.gz": write_table,
    "a.mtx": write_mtx,
    "a.mtx.gz": write_mtx,
    "two": write_folder,
    "three": lambda frame, path: write_folder(frame, path, ".gz", "features"),
    "a.h5": write_10x_h5,
    "csr.h5ad": write_store(sp.csr_matrix),
    "csc.h5ad": write_store(sp.csc_matrix),
    "dense.h5ad": write_store(np.asarray),
    "int64.h5ad": write_store(lambda dense: sp.csr_matrix(dense.astype(np.int64))),
    "float64.h5ad": write_store(lambda dense: sp.csr_matrix(dense.astype(np.float64))),
    "unsorted.h5ad": write_store(unsorted),
    "csr.zarr": write_store(sp.csr_matrix),
    "unsorted.zarr": write_store(unsorted),
}
ON_DISK = [name for name in WRITERS if name.startswith(("csr", "int64", "float64", "unsorted"))]
NAMES = st.text("abcXYZ019_", min_size=1, max_size=5).map("n{}".format)


@st.composite
def tables(draw: st.DrawFn) -> Named:
    """Counts of 1 to 6 observations and 1 to 5 features, with names of their own."""
    names = [draw(st.lists(NAMES, min_size=1, max_size=size, unique=True)) for size in (6, 5)]
    shape = [len(each) for each in names]
    size = shape[0] * shape[1]
    counts = st.sampled_from([0, 0, 0, 1, 2, 255, 70_000])
    values = draw(st.lists(counts, min_size=size, max_size=size))
    return pd.DataFrame(np.array(values, dtype=np.int32).reshape(shape), *names)


@settings(max_examples=8, deadline=None)
@given(frame=tables())
def test_every_reader_reads_what_was_written(frame: Named) -> None:
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            write(frame, path)
            adata = load(path)
            np.testing.assert_array_equal(adata.X.toarray(), frame.to_numpy(), err_msg=name)
            assert (adata.X.format, adata.X.dtype) == ("csr", np.int32), name
            if ".mtx" not in name:
                assert list(adata.obs_names) == list(frame.index), name
                assert list(adata.var_names) == list(frame.columns), name
            if name in ON_DISK:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of empty rows and features
                    loader = CountLoader(load(path, out_of_core=True), shuffle=False)
                (batch,) = loader
                np.testing.assert_array_equal(batch.counts.to_dense(), frame, err_msg=name)


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


def test_empty_categories(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.obs["site"] = pd.Categorical(list("aabb"), categories=["z", "b", "y", "a"])
    adata.obs["none"] = pd.Categorical([None] * 4)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for out_of_core in (False, True):
        read = load(tmp_path / "a.h5ad", out_of_core=out_of_core)
        counts = CountMatrix.from_anndata(read, covariates=["site"])
        assert counts.covariates["site"].tolist() == [3, 3, 1, 1]
        with pytest.raises(DataError, match="'none' has no value at row 0"):
            CountMatrix.from_anndata(read, covariates=["none"])
        classes = read.obs["site"].astype(str).to_numpy()
        assert isinstance(random_split(4, classes=classes), Split)


BARCODES = ["AAACATACAACCAC-1", "AAACATTGAGCTAC-1", "AAACATTGATCAGC-1", "AAACCGTGCTTCCG-1"]
GENES = ["ENSG00000243485", "ENSG00000237613.2", "ENSMUSG00000051951"]


@pytest.mark.parametrize("end", [".csv", ".h5ad"])
@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (GENES, BARCODES, "columns are named like cells"),
        (GENES, ["s1", "s2", "s3", "s4"], "rows are named like genes"),
        (["a", "b", "c"], [f"plate1_{name}" for name in BARCODES], "columns are named like cells"),
    ],
)
def test_data_that_lie_sideways_are_noticed(
    tmp_path: Path, end: str, rows: list[str], columns: list[str], said: str
) -> None:
    frame = pd.DataFrame(np.ones((3, 4), dtype=int), rows, columns)
    path = tmp_path / f"a{end}"
    (write_table if end == ".csv" else write_store(sp.csr_matrix))(frame, path)
    with pytest.warns(UserWarning, match=rf"a{end} looks like features x observations.*{said}"):
        load(path)
    (write_table if end == ".csv" else write_store(sp.csr_matrix))(frame.T, path)
    assert load(path).shape == (4, 3)  # and no warning


@pytest.mark.skipif(find_spec("loompy") is not None, reason="loompy is here")
def test_loom_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "a.loom").touch()
    with pytest.raises(DataError, match=r"a\.loom needs the package loompy"):
        load(tmp_path / "a.loom")


@pytest.mark.skipif(find_spec("loompy") is None, reason="needs loompy")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_loom(tmp_path: Path) -> None:
    import loompy

    dense = np.arange(12).reshape(4, 3)
    names = {"Gene": np.array(list("aab"))}, {"CellID": np.array([f"c{i}" for i in range(4)])}
    loompy.create(str(tmp_path / "a.loom"), dense.T, *names)
    adata = load(tmp_path / "a.loom")
    np.testing.assert_array_equal(adata.X.toarray(), dense)
    assert list(adata.obs_names) == ["c0", "c1", "c2", "c3"]
    assert list(adata.var_names) == ["a", "a-1", "b"]
