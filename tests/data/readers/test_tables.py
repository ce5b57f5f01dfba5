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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell,a,b\nx,1,0\ny,2,T cell\n", r"text, 'T cell', at row 1 \('y'\), column 'b'"),
        ("cell,a,b\nx,1,0\ny,2,NA\n", r"text, 'NA', at row 1 \('y'\), column 'b'"),
        ('cell,a,b\nx,"1,000",0\n', r"text, '1,000', at row 0 \('x'\), column 'a'"),
        ("cell,a,b\nx,1,3\ny,2,\n", r"nothing at row 1 \('y'\), column 'b'"),
        ("cell,a,b\nx,1,3\ny,2", r"nothing at row 1 \('y'\), column 'b'"),
        ("cell,a,b\nx,1,3\ny,2,4,5\n", r"Expected 3 fields in line 3, saw 4"),
        ("a,b\n1,2,3,4\n5,6,7,8\n", r"4 fields in a row but 2 names"),
        ("cell a b\nx 1 2\n", r"separated by commas in \.csv files"),
    ],
)
def test_ragged_rows_gaps_and_text_are_located(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"counts\.csv.*{message}"):
        load(path)


def test_fractions_are_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("cell,a,b\nx,1,3\ny,2.5,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2\.5, at row 1 \('y'\), column 0 \('a'\)"):
        CountMatrix.from_anndata(load(path))


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("cell,a,b\r\nx,1,0\r\ny,2,3\r\n", "x y", "a b"),  # Windows
        ("cell,a,b\rx,1,0\ry,2,3\r", "x y", "a b"),  # and Macintosh, once
        ("\ufeffcell,a,b\nx,1,0\ny,2,3\n", "x y", "a b"),  # Excel
        ("cell,a,a\nx,1,0\nx,2,3\n", "x x-1", "a a-1"),
        ("cell,NA,nan\nNA,1,0\nnull,2,3\n", "NA null", "NA nan"),
        ('"cell","a","b"\n"x","1","0"\n"y","2","3"\n', "x y", "a b"),
        ("cell,a,b\n\nx,1,0\n\ny,2,3\n\n", "x y", "a b"),
        ("cell,a,b\nx,1e0,0.0\ny,2,3", "x y", "a b"),
        ("zelle,ä,µ\nx,1,0\ny,2,3\n", "x y", "ä µ"),
        ("cell;a;b\nx;1;0\ny;2;3\n", "x y", "a b"),  # Excel, where a comma is a decimal point
        ("cell\ta\tb\nx\t1\t0\ny\t2\t3\n", "x y", "a b"),
        ("# made, by, hand\n#\ncell,a,b\nx,1,0\ny,2,3\n", "x y", "a b"),
        ("#cell,a,b\nx,1,0\ny,2,3\n", "x y", "a b"),
    ],
)
def test_what_other_programs_write(tmp_path: Path, text: str, rows: str, columns: str) -> None:
    (tmp_path / "counts.csv").write_bytes(text.encode())
    adata = load(tmp_path / "counts.csv")
    assert adata.X.toarray().tolist() == [[1, 0], [2, 3]]
    assert (list(adata.obs_names), list(adata.var_names)) == (rows.split(), columns.split())


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_bytes_that_are_not_utf8_are_located(tmp_path: Path, suffix: str) -> None:
    content = "cell,a,b\nx,1,0\nzoë,2,3\n".encode("latin-1")
    path = tmp_path / f"counts{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(DataError, match=r"counts\.csv.* line 3 is not UTF-8"):
        load(path)


def test_truncated_gzip_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(("cell,a,b\n" + "x,1,0\n" * 5000).encode())
    for kept in (len(whole) - 4, len(whole) // 2, 12):
        (tmp_path / "counts.csv.gz").write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"Cannot read .*counts\.csv\.gz as a table"):
            load(tmp_path / "counts.csv.gz")


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
