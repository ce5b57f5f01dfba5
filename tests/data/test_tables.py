from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from vae4counts.data import CountMatrix, DataError, load

WANTED = [[1, 0, 2], [0, 3, 0]]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cell,a,b,c\nx,1,0,2\ny,0,3,0\n", ["x", "y"]),
        ("a,b,c\n1,0,2\n0,3,0\n", ["0", "1"]),
        (",a,b,c\n7,1,0,2\n9,0,3,0\n", ["7", "9"]),  # as pandas writes an index of numbers
        ("a,b,c\nx,1,0,2\ny,0,3,0\n", ["x", "y"]),  # as R writes row names
        ("cell,a,b,c\nx,True,0.0,2\nx,False,3.0,0\n", ["x", "x-1"]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_table(tmp_path: Path, text: str, rows: list[str], suffix: str) -> None:
    path = tmp_path / f"counts{suffix}"
    content = (text.replace(",", "\t") if "tsv" in suffix else text).encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    adata = load(path)
    assert adata.X.toarray().tolist() == WANTED
    assert (adata.X.format, adata.X.dtype.name) == ("csr", "int32")
    assert list(adata.obs_names) == rows
    assert list(adata.var_names) == ["a", "b", "c"]


def test_text_among_counts_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("cell,a,b\nx,1,\ny,2,T cell\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"text, 'T cell', at row 1 \('y'\), column 'b'"):
        load(path)


def test_gaps_and_fractions_are_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("cell,a,b\nx,1,3\ny,2,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"nan, at row 1 \('y'\), column 1 \('b'\)"):
        CountMatrix.from_anndata(load(path))
    path.write_text("cell,a,b\nx,1,3\ny,2.5,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2\.5, at row 1 \('y'\), column 0 \('a'\)"):
        CountMatrix.from_anndata(load(path))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3,4\n", b"\xff\xfe\x00a,b"])
def test_broken_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counts.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"Cannot read .*counts\.csv as a table: "):
        load(path)


def test_header_without_rows_is_empty_data(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"counts\.csv is empty: it has a header, but no rows"):
        load(path)
