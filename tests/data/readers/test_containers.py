"""Data that are one step away from what is read: told by content, and read or answered."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
import zarr
from anndata.io import write_elem

from vae4counts.data import CountFile, DataError, counts_of, load
from vae4counts.data.readers import compression

COUNTS = np.array([[1, 0, 2], [0, 3, 0]])
ROWS, COLUMNS = ["x", "y"], ["a", "b", "c"]


def the_data() -> anndata.AnnData:
    adata = anndata.AnnData(sp.csr_matrix(COUNTS.astype(np.float32)))
    adata.obs_names, adata.var_names = ROWS, COLUMNS
    return adata


def write_zarr(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format of zarr that is written by default
        the_data().write_zarr(path)


def put_h5ad(folder: Path, name: str = "x.h5ad") -> Path:
    the_data().write_h5ad(folder / name)
    return folder / name


def put_10x(folder: Path) -> Path:
    folder.mkdir(parents=True)
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(COUNTS.T))
    (folder / "genes.tsv").write_text("".join(f"id{name}\t{name}\n" for name in COLUMNS))
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in ROWS))
    return folder


def compressed(pack: Callable[[bytes], bytes], end: str) -> Callable[[Path], Path]:
    def put(folder: Path) -> Path:
        whole = put_h5ad(folder)
        path = folder / f"X.H5AD{end}"
        path.write_bytes(pack(whole.read_bytes()))
        whole.unlink()
        return path

    return put


def table(end: str, pack: Callable[[bytes], bytes] = bytes) -> Callable[[Path], Path]:
    mark = "," if ".csv" in end.lower() else "\t"
    lines = [["cell", *COLUMNS]] + [[n, *map(str, r)] for n, r in zip(ROWS, COUNTS, strict=True)]

    def put(folder: Path) -> Path:
        path = folder / f"counts{end}"
        path.write_bytes(pack("".join(mark.join(line) + "\n" for line in lines).encode()))
        return path

    return put


def tar_of_10x(folder: Path) -> Path:
    inside = put_10x(folder / "tenx")
    with tarfile.open(folder / "GSE1_RAW.tar", "w") as archive:
        archive.add(inside, "tenx")
    return folder / "GSE1_RAW.tar"


def zip_of_zarr(folder: Path) -> Path:
    write_zarr(folder / "plain")
    shutil.make_archive(str(folder / "z"), "zip", folder / "plain")
    return (folder / "z.zip").rename(folder / "z.zarr.zip")


def spatial(folder: Path) -> Path:
    zarr.open_group(folder / "s.zarr", mode="w").create_group("tables")
    write_zarr(folder / "s.zarr" / "tables" / "table")
    return folder / "s.zarr"


def plain_zarr(folder: Path) -> Path:
    write_zarr(folder / "store")
    return folder / "store"


def mudata(folder: Path, *names: str) -> Path:
    with h5py.File(folder / "m.h5mu", "w") as file:
        file.attrs["encoding-type"] = "MuData"
        for name in names or ("rna",):
            write_elem(file.require_group("mod"), name, the_data())
    return folder / "m.h5mu"


def cell_ranger(folder: Path) -> Path:
    put_10x(folder / "outs" / "filtered_feature_bc_matrix")
    scipy.io.mmwrite(put_10x(folder / "outs" / "raw_feature_bc_matrix") / "matrix.mtx", np.eye(3))
    (folder / "outs" / "metrics_summary.csv").write_text("a,b\n1,2\n")
    molecules(folder / "outs" / "molecule_info.h5")
    return folder / "outs"


def molecules(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.update({"barcodes": np.array([b"A"]), "count": [1], "umi": [1], "barcode_idx": [0]})
    return path


READ: dict[str, Callable[[Path], Path]] = {
    "h5ad.gz": compressed(gzip.compress, ".gz"),
    "h5ad.bz2": compressed(bz2.compress, ".BZ2"),
    "h5ad.xz": compressed(lzma.compress, ".xz"),
    "h5ad, compressed all the same": compressed(gzip.compress, ""),
    "csv.bz2": table(".csv.bz2", bz2.compress),
    "tsv.xz": table(".tsv.xz", lzma.compress),
    "upper case": table(".CSV"),
    "txt": table(".txt"),
    "txt.gz": table(".TXT.GZ", gzip.compress),
    "no suffix": table(""),
    "gz alone": table(".gz", gzip.compress),
    "unpacked by a browser": table(".csv.gz"),
    "tar": tar_of_10x,
    "zip of zarr": zip_of_zarr,
    "SpatialData": spatial,
    "zarr without its ending": plain_zarr,
    "MuData": mudata,
    "outs": cell_ranger,
    "folder above outs": lambda folder: cell_ranger(folder).parent,
    "AnnData called h5": lambda folder: put_h5ad(folder, "x.h5"),
    "AnnData called anything": lambda folder: put_h5ad(folder, "x.hdf"),
    "folder with one h5ad": lambda folder: put_h5ad(folder).parent,
    "X.H5AD": lambda folder: put_h5ad(folder, "X.H5AD"),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_one_step_away_is_read(tmp_path: Path, case: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    adata = load(READ[case](place))
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert (list(adata.obs_names), list(adata.var_names)) == (ROWS, COLUMNS)


def folder_called_csv(folder: Path) -> Path:
    (folder / "x.csv").mkdir()
    return folder / "x.csv"


def two_in_a_folder(folder: Path) -> Path:
    put_h5ad(folder, "a.h5ad")
    return put_h5ad(folder, "b.h5ad").parent


def other_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "weights.h5", "w") as file:
        file["layer"] = np.eye(3)
    return folder / "weights.h5"


def two_spatial_tables(folder: Path) -> Path:
    write_zarr(spatial(folder) / "tables" / "other")
    return folder / "s.zarr"


ANSWERED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder called x.csv": (folder_called_csv, "is a folder without data .* holds nothing"),
    "two files": (two_in_a_folder, r"holds 2 sets of data.*name the one.*a\.h5ad, b\.h5ad"),
    "two tables": (two_spatial_tables, "name the one that you mean .*tables/other, tables/table"),
    "molecule_info": (
        lambda folder: molecules(folder / "molecule_info.h5"),
        r"list of molecules.*name the file filtered_feature_bc_matrix\.h5",
    ),
    "other HDF5": (other_hdf5, "neither a 10x matrix nor an AnnData.*holds 'layer'"),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_what_cannot_be_read_says_the_one_step(tmp_path: Path, case: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    put, message = ANSWERED[case]
    with pytest.raises(DataError, match=message) as caught:
        load(put(place))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("counts.xlsx", "save the sheet of counts as .csv"),
        ("COUNTS.XLS", "a spreadsheet"),
        ("x.parquet", r"pandas\.read_parquet\('.*x\.parquet'\) to fit"),
        ("x.feather", r"read_feather"),
        ("x.npy", r"numpy\.load"),
        ("x.npz", r"scipy\.sparse\.load_npz"),
        ("sce.rds", "writeH5AD"),
        ("pbmc.RData", "writeH5AD"),
        ("pbmc.h5Seurat", "writeH5AD"),
        ("otu.biom", "biom convert -i .*otu.biom"),
        ("s1.bam", "count them first"),
        ("s1_R1.fastq.gz", "count them first"),
        ("x.mat", "loadmat"),
    ],
)
def test_other_formats_say_the_one_step(tmp_path: Path, name: str, step: str) -> None:
    content = b"\x93\x00 no table\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError, match=step) as caught:
        load(tmp_path / name)
    assert f"{name} is " in str(caught.value)
    assert "which is not read: " in str(caught.value)


@pytest.mark.parametrize("source", ["", " ", None, 3, COUNTS, b"x.csv"])
def test_what_is_no_path_is_said(source: Any) -> None:
    with pytest.raises(
        DataError, match=r"neither the name of a data set nor|takes a name or a path"
    ):
        load(source)


@pytest.mark.parametrize("case", ["SpatialData", "zarr without its ending", "X.H5AD"])
def test_stores_in_folders_stay_on_disk(tmp_path: Path, case: str) -> None:
    assert isinstance(counts_of(load(READ[case](tmp_path), out_of_core=True)), CountFile)


@pytest.mark.parametrize("case", ["h5ad.gz", "tar", "zip of zarr", "csv.bz2"])
def test_what_is_unpacked_first_cannot_stay_on_disk(tmp_path: Path, case: str) -> None:
    with pytest.raises(DataError, match="cannot stay on disk; these formats can, unpacked"):
        load(READ[case](tmp_path), out_of_core=True)


@pytest.mark.parametrize("case", ["h5ad.gz", "h5ad.xz", "csv.bz2"])
def test_what_unpacks_without_end_is_refused(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "MAX_UNPACKED_SIZE", 10)
    with pytest.raises(DataError, match="larger than is allowed"):
        load(READ[case](tmp_path))


@pytest.mark.parametrize("case", ["h5ad.gz", "h5ad.bz2", "h5ad.xz", "tsv.xz"])
def test_what_is_cut_short_is_named(tmp_path: Path, case: str) -> None:
    path = READ[case](tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"Cannot read .*{path.name}"):
        load(path)


def test_errors_name_the_archive_and_not_where_it_was_unpacked(tmp_path: Path) -> None:
    inside = put_10x(tmp_path / "tenx")
    (inside / "barcodes.tsv").write_text("x\n")
    path = shutil.make_archive(str(tmp_path / "a"), "gztar", tmp_path, "tenx")
    with pytest.raises(DataError, match=r"a\.tar\.gz/tenx/matrix\.mtx holds 3 x 2 counts"):
        load(path)
