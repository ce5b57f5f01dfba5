from __future__ import annotations

import gzip
from pathlib import Path

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


def test_matrix_in_its_folder_is_not_read_sideways(folder: Path) -> None:
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


@pytest.mark.parametrize("name", ["counts.mtx", "counts.mtx.gz"])
def test_matrix_alone_is_observations_by_features(tmp_path: Path, name: str) -> None:
    put_matrix(tmp_path / name, CELLS)
    adata = load(tmp_path / name)
    np.testing.assert_array_equal(adata.X.toarray(), CELLS)
    assert list(adata.obs_names) == ["0", "1"]
    assert list(adata.var_names) == ["0", "1", "2"]


def test_broken_matrix_is_named(tmp_path: Path) -> None:
    put(tmp_path / "counts.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 x\n")
    with pytest.raises(DataError, match=r"Cannot read .*counts\.mtx as a Matrix Market file: "):
        load(tmp_path / "counts.mtx")
