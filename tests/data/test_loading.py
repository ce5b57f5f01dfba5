"""Every format gives the counts that were written, and what cannot be loaded says why."""

from __future__ import annotations

import gzip
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st

from vae4counts.data import (
    DATASETS,
    READERS,
    CountLoader,
    DataError,
    UnknownName,
    load,
    modalities_of,
)

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
        for name in ("id", "name"):
            group[f"features/{name}"] = np.array([name.encode() for name in frame.columns])
        for name in ("feature_type", "genome"):
            group[f"features/{name}"] = np.array([b"one"] * frame.shape[1])


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


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
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


def test_unknown_name_suggests_one() -> None:
    with pytest.raises(UnknownName, match=r"'pbmc68'\. Did you mean 'pbmc68k'\?"):
        load("pbmc68")


@pytest.mark.parametrize("name", ["absent.h5ad", "absent/folder"])
def test_missing_file_says_what_is_accepted(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path / name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    suffixes = {suffix for reader in READERS.values() for suffix in reader.suffixes}
    assert all(known in message for known in [*DATASETS, *suffixes, "10x folder"])


def test_unknown_suffix_says_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "counts.foo"
    path.touch()
    with pytest.raises(DataError, match=r"what .*counts\.foo holds\. Accepted: .*\.h5ad"):
        load(path)


@pytest.mark.parametrize("name", ["digits", "table.csv", "folder"])
def test_only_stores_stay_on_disk(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").touch()
    Path("folder").mkdir()
    Path("folder/matrix.mtx").touch()
    formats = r"these formats can, unpacked: .* an AnnData store \(\.h5ad, \.zarr\)"
    message = rf"^{name} cannot stay on disk; {formats}"
    with pytest.raises(DataError, match=message):
        load(name, out_of_core=True)


def test_a_data_set_with_further_modalities(monkeypatch: pytest.MonkeyPatch) -> None:
    def digits(_: bool | None) -> AnnData:
        return load("digits")[:4].copy()

    def words(offline: bool | None) -> AnnData:
        assert offline is True
        names = digits(None).obs_names[[2, 0]]
        counts = np.array([[1.0, 0, 2], [0, 0, 0]])
        var = pd.DataFrame(index=["cat", "dog", "hat"])
        return AnnData(sp.csr_matrix(counts), pd.DataFrame(index=names), var)

    known = replace(DATASETS["digits"], loader=digits, modalities={"words": words})
    monkeypatch.setitem(DATASETS, "both", known)
    assert list(load("both").obsm) == []
    with pytest.warns(UserWarning, match="2 of 4 observations have no words"):
        adata = load("both", modalities=["words"], offline=True)
    found = modalities_of(adata, ["counts", "words"])
    assert found["words"].X.toarray().tolist() == [[0, 0, 0], [1, 0, 2]]
    assert list(found["words"].var_names) == ["cat", "dog", "hat"]
    assert found.rows("words").tolist() == [0, -1, 1, -1]
    with pytest.raises(UnknownName, match=r"no modality of both 'word'\. Did you mean 'words'"):
        load("both", modalities=["word"])


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("coco2017-val", ["captions"]),
        ("coco2017-train", ["captions"]),
        ("tcga-pancancer", ["mirna", "methylation"]),
        ("tcga-pancancer-top5000", ["mirna", "methylation"]),
    ],
)
def test_data_sets_say_which_modalities_they_have(name: str, modalities: list[str]) -> None:
    assert list(DATASETS[name].modalities) == modalities
