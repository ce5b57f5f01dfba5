from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from vae4counts.data import DataError, load

COUNTS = np.array([[0, 2, 1], [3, 0, 0]])


def put(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def put_matrix(path: Path, matrix: np.ndarray) -> None:
    plain = path.with_name("plain.mtx")
    scipy.io.mmwrite(plain, sp.coo_matrix(matrix))
    put(path, plain.read_text())
    plain.unlink()


@pytest.mark.parametrize("name", ["counts.mtx", "counts.mtx.gz"])
def test_matrix_alone_is_observations_by_features(tmp_path: Path, name: str) -> None:
    put_matrix(tmp_path / name, COUNTS)
    adata = load(tmp_path / name)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.obs_names) == ["0", "1"]
    assert list(adata.var_names) == ["0", "1", "2"]


def test_broken_matrix_is_named(tmp_path: Path) -> None:
    put(tmp_path / "counts.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 x\n")
    with pytest.raises(DataError, match=r"Cannot read .*counts\.mtx as a Matrix Market file: "):
        load(tmp_path / "counts.mtx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("integer general\n2 2 1\n3 1 5\n", "Line 3: Row index out of bounds"),
        ("integer general\n2 2 2\n1 1 5\n", "Truncated"),
        ("integer general\n2 2 1\n1 1 5\n2 2 5\n", "Line 4: Too many lines"),
        ("complex general\n2 2 1\n1 1 5 1\n", "holds complex numbers"),
    ],
)
def test_broken_entries_are_located(tmp_path: Path, text: str, message: str) -> None:
    put(tmp_path / "counts.mtx", f"%%MatrixMarket matrix coordinate {text}")
    with pytest.raises(DataError, match=rf"counts\.mtx.*{message}"):
        load(tmp_path / "counts.mtx")


def test_entries_that_are_stored_twice_are_added(tmp_path: Path) -> None:
    put(
        tmp_path / "counts.mtx",
        "%%MatrixMarket matrix coordinate integer general\r\n2 2 3\r\n1 2 5\r\n1 2 3\r\n1 1 1\r\n",
    )
    assert load(tmp_path / "counts.mtx").X.toarray().tolist() == [[1, 8], [0, 0]]


def test_truncated_gzip_is_an_error(tmp_path: Path) -> None:
    put_matrix(tmp_path / "counts.mtx.gz", np.arange(400).reshape(20, 20))
    whole = (tmp_path / "counts.mtx.gz").read_bytes()
    for kept in (len(whole) - 4, len(whole) // 2, 12):
        (tmp_path / "counts.mtx.gz").write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"counts\.mtx\.gz"):
            load(tmp_path / "counts.mtx.gz")
