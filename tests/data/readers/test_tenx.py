from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from vae4counts.data import CountMatrix, DataError, load

CELLS = np.array([[0, 2, 1], [3, 0, 0]])  # cells x genes


def put(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def put_matrix(path: Path, matrix: np.ndarray) -> None:
    plain = path.with_name("plain.mtx")
    scipy.io.mmwrite(plain, sp.coo_matrix(matrix))
    put(path, plain.read_text())
    plain.unlink()


@pytest.fixture(params=[1, 2, 3])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """What Cell Ranger writes: version 1 and 2 plain, from 3 on compressed, with types."""
    if request.param < 3:
        put_matrix(tmp_path / "matrix.mtx", CELLS.T)
        put(tmp_path / "genes.tsv", "ENSG1\tNA\nENSG2\tTBCE\nENSG3\tTBCE\n")
        put(tmp_path / "barcodes.tsv", "AAA-1\nCCC-1\n")
    else:
        kind = "Gene Expression"
        put_matrix(tmp_path / "matrix.mtx.gz", CELLS.T)
        put(
            tmp_path / "features.tsv.gz",
            f"ENSG1\tNA\t{kind}\nENSG2\tTBCE\t{kind}\nENSG3\tTBCE\tAntibody Capture\n",
        )
        put(tmp_path / "barcodes.tsv.gz", "AAA-1\nCCC-1\n")
    return tmp_path


def test_folder(folder: Path) -> None:
    adata = load(folder)
    np.testing.assert_array_equal(adata.X.toarray(), CELLS)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.obs_names) == ["AAA-1", "CCC-1"]
    assert list(adata.var_names) == ["NA", "TBCE", "TBCE-1"]
    assert adata.var["gene_ids"].tolist() == ["ENSG1", "ENSG2", "ENSG3"]
    if (folder / "features.tsv.gz").exists():
        assert adata.var["feature_types"].tolist()[1:] == ["Gene Expression", "Antibody Capture"]
    CountMatrix.from_anndata(adata)


def test_matrix_in_its_folder_is_not_transposed(folder: Path) -> None:
    (path,) = folder.glob("matrix.mtx*")
    assert list(load(path).obs_names) == ["AAA-1", "CCC-1"]


def test_missing_part_is_named(folder: Path) -> None:
    (path,) = folder.glob("barcodes.tsv*")
    path.unlink()
    with pytest.raises(DataError, match=r"not a 10x folder: it has no barcodes\.tsv"):
        load(folder)


def test_sizes_must_agree(tmp_path: Path) -> None:
    put_matrix(tmp_path / "matrix.mtx", CELLS)  # the wrong way round
    put(tmp_path / "genes.tsv", "a\nb\nc\n")
    put(tmp_path / "barcodes.tsv", "x\ny\n")
    with pytest.raises(DataError, match=r"2 features x 3 cells, but genes\.tsv names 3 features"):
        load(tmp_path)


def test_genes_with_ids_only(tmp_path: Path) -> None:
    put_matrix(tmp_path / "matrix.mtx", CELLS.T)
    put(tmp_path / "genes.tsv", "a\nb\nc\n")
    put(tmp_path / "barcodes.tsv", "x\ny\n")
    assert list(load(tmp_path).var_names) == ["a", "b", "c"]


def test_names_that_are_repeated_or_not_utf8(folder: Path) -> None:
    (path,) = folder.glob("barcodes.tsv*")
    put(path, "AAA-1\r\nAAA-1\r\n")
    assert list(load(folder).obs_names) == ["AAA-1", "AAA-1-1"]
    data = b"AAA-1\n\xe9\xe9\n"
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    with pytest.raises(DataError, match=r"barcodes\.tsv.* line 2 is not UTF-8"):
        load(folder)


def write_h5(path: Path, version: int) -> None:
    """What Cell Ranger writes as HDF5: genomes side by side before version 3, one matrix since."""
    matrix = sp.csr_matrix(CELLS)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    with h5py.File(path, "w") as file:
        group = file.create_group("GRCh38" if version < 3 else "matrix")
        for name, part in parts.items():
            group[name] = part
        group["shape"] = np.array([3, 2], dtype=np.int32)
        group["barcodes"] = np.array([b"AAA-1", b"CCC-1"])
        names, ids = np.array([b"NA", b"TBCE", b"TBCE"]), np.array([b"ENSG1", b"ENSG2", b"ENSG3"])
        if version < 3:
            group["gene_names"], group["genes"] = names, ids
        else:
            kind = np.array([b"Gene Expression", b"Gene Expression", b"Antibody Capture"])
            features = group.create_group("features")
            features["name"], features["id"], features["feature_type"] = names, ids, kind
            features["genome"] = np.array([b"GRCh38"] * 3)


@pytest.mark.parametrize("version", [2, 3])
def test_h5(tmp_path: Path, version: int) -> None:
    write_h5(tmp_path / "filtered.h5", version)
    adata = load(tmp_path / "filtered.h5")
    np.testing.assert_array_equal(adata.X.toarray(), CELLS)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.obs_names) == ["AAA-1", "CCC-1"]
    assert list(adata.var_names) == ["NA", "TBCE", "TBCE-1"]
    assert adata.var["gene_ids"].tolist() == ["ENSG1", "ENSG2", "ENSG3"]


def test_broken_h5_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 3
    (tmp_path / "text.h5").write_text("text")
    for name in ("other", "text"):
        with pytest.raises(DataError, match=rf"Cannot read .*{name}\.h5 as a 10x \.h5 file"):
            load(tmp_path / f"{name}.h5")


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
