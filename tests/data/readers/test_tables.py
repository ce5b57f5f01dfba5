from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
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


IDS = [
    ("", [0, 1, 2]),
    ("Unnamed: 0", [4, 7, 5]),
    ("cell_id", [100001, 100002, 100003]),
    ("id", [2, 0, 1]),
    ("index", [0, 1, 2]),
    ("barcode", [1, 2, 3]),
    ("sample", [9, 5, 7]),
    ("Patient ID", [3, 3, 5]),
    ("imageId", [8, 9, 10]),
    ("X", [1, 2, 3]),
    ("cell", [1.0, 2.0, 4.0]),
]


@pytest.mark.parametrize(("header", "ids"), IDS)
def test_ids_that_are_numbers_are_not_counted(
    tmp_path: Path, header: str, ids: list[float]
) -> None:
    rows = "".join(f"{number},{i},2\n" for i, number in enumerate(ids))
    (tmp_path / "a.csv").write_text(f"{header},a,b\n{rows}")
    adata = load(tmp_path / "a.csv")
    assert adata.X.toarray().tolist() == [[0, 2], [1, 2], [2, 2]]
    assert [name.split("-")[0] for name in adata.obs_names] == [str(int(each)) for each in ids]


@pytest.mark.parametrize("header", ["TP53", "lipid", "person", "covid", "grid"])
def test_counts_that_are_distinct_are_counted(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header},b\n5,1\n3,2\n4,0\n")
    assert load(tmp_path / "a.csv").X.toarray().tolist() == [[5, 1], [3, 2], [4, 0]]


def test_numbers_one_after_the_other_are_ids_under_any_header(tmp_path: Path) -> None:
    rows = "".join(f"{i + 1},2\n" for i in range(10))
    (tmp_path / "a.csv").write_text(f"what,b\n{rows}")
    assert load(tmp_path / "a.csv").shape == (10, 1)


def test_further_ids_are_not_counted_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("cell,donor_id,g1\nx,7,1\ny,7,2\n")
    with pytest.warns(UserWarning, match="'donor_id' not counted"):
        adata = load(tmp_path / "a.csv")
    assert list(adata.var_names) == ["g1"]
    assert adata.obs["donor_id"].tolist() == [7, 7]


GENES = [(f"G{i}", "chr1", 100 * i + 1, 100 * i + 90, "+", 90, i, 5, 8) for i in range(3)]
HEAD = ["Geneid", "Chr", "Start", "End", "Strand", "Length", "s1", "s2", "s3"]
COMMENT = '# Program:featureCounts v2.0.1; Command:"featureCounts" "-a" "x.gtf"\n'


def lines(head: list[str], rows: list[tuple[object, ...]], columns: list[int] | None = None) -> str:
    """A tab-separated table of some of the columns."""
    kept = range(len(head)) if columns is None else columns
    return "".join("\t".join(str(row[j]) for j in kept) + "\n" for row in [tuple(head), *rows])


OTUS = [(f"otu{i}", f"{i}.0", "5.0", "8.0", "k__Bacteria; p__Firmicutes") for i in range(3)]
OTU_HEAD = ["#OTU ID", "s1", "s2", "s3", "taxonomy"]
BIOM = "# Constructed from biom file\n"
PROGRAMS = {
    "featureCounts": COMMENT + lines(HEAD, GENES),
    "without its comment": lines(HEAD, GENES),
    "numbers only": lines(HEAD, GENES, [0, 2, 3, 5, 6, 7, 8]),
    "start and end only": lines(["row", *HEAD[1:]], GENES, [0, 2, 3, 6, 7, 8]),
    "length only": lines(HEAD, GENES, [0, 5, 6, 7, 8]),
    "BIOM": BIOM + lines(OTU_HEAD, OTUS),
    "BIOM without taxonomy": BIOM + lines(OTU_HEAD, OTUS, [0, 1, 2, 3]),
    "BIOM without its comment": lines(OTU_HEAD, OTUS, [0, 1, 2, 3]),
    "lineages": lines([*OTU_HEAD[:4], "Consensus Lineage"], OTUS),
    "ranks": lines(
        ["", "Kingdom", "Phylum", "Class", "Species", "s1", "s2", "s3"],
        [(o[0], "Bacteria", "Firmicutes", "Bacilli", "x y", *o[1:4]) for o in OTUS],
    ),
    "Entrez ids": lines(
        ["entrez_id", *HEAD[6:]], [(7157 + 3 * i, *g[6:]) for i, g in enumerate(GENES)]
    ),
    "GCT": "#1.2\n3\t3\n"
    + lines(
        ["Name", "Description", *HEAD[6:]],
        [(f"Gene{i}", "a gene", *g[6:]) for i, g in enumerate(GENES)],
    ),
    "HTSeq": lines(["", *HEAD[6:]], [*[(g[0], *g[6:]) for g in GENES], ("__no_feature", 9, 9, 9)]),
    "STAR": lines(["gene", *HEAD[6:]], [("N_unmapped", 9, 9, 9), *[(g[0], *g[6:]) for g in GENES]]),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_what_counting_programs_write(tmp_path: Path, case: str) -> None:
    (tmp_path / "counts.tsv").write_text(PROGRAMS[case])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adata = load(tmp_path / "counts.tsv")
    assert adata.X.toarray().tolist() == [[0, 1, 2], [5, 5, 5], [8, 8, 8]]
    assert list(adata.obs_names) == ["s1", "s2", "s3"]
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert "read as features x observations" in said[0]
    assert any("left out" in line for line in said) == (case in ("HTSeq", "STAR"))
    if case == "featureCounts":
        assert adata.var["Start"].tolist() == [1, 101, 201]


@pytest.mark.parametrize("names", ["start,length,end", "End,strands,key", "gene_x,Start,Length"])
def test_words_that_are_counted_stay(tmp_path: Path, names: str) -> None:
    (tmp_path / "words.csv").write_text(f"document,{names}\nx,2,1,0\ny,1,0,3\n")
    assert list(load(tmp_path / "words.csv").var_names) == names.split(",")


def some_counts(n: int = 6) -> pd.DataFrame:
    counts = np.random.default_rng(0).poisson(2.0, (n, 4)) + 1
    return pd.DataFrame(counts, [f"plot {i}" for i in range(n)], list("abcd"))


NOT_COUNTED = {
    "lat": [51.5, 48.25, 47.125, 60.0, 59.5, 51.75],
    "temperature": [-3.5, 2.5, 0.0, 7.25, 8.5, 9.5],
    "pH": [7.1, 6.9, 7.3, 7.7, 5.5, 6.2],
    "year": [1998, 1999, 2004, 2020, 2021, 2021],
    "Year": [2020] * 6,
    "nCount_RNA": [100, 200, 300, 400, 500, 600],
    "nFeature_RNA": [4] * 6,
    "n_genes_by_counts": [4] * 6,
    "total_counts_mt": [0, 1, 0, 1, 0, 1],
    "percent.mt": [0, 1, 0, 1, 0, 0],
}


@pytest.mark.parametrize("name", NOT_COUNTED)
@pytest.mark.parametrize("place", [0, 4])
def test_what_describes_the_rows_is_not_counted_and_said(
    tmp_path: Path, name: str, place: int
) -> None:
    table = some_counts()
    table.insert(place, name, NOT_COUNTED[name])
    table.to_csv(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match=f"'{name}' not counted"):
        adata = load(tmp_path / "a.csv")
    assert list(adata.var_names) == list("abcd")
    assert adata.obs[name].tolist() == NOT_COUNTED[name]


@pytest.mark.parametrize("text", ["d,year,n\nx,2,1\ny,0,2000\n", "d,a,b\nx,0.5,1.5\ny,2,0.1\n"])
def test_what_may_be_counted_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert load(tmp_path / "a.csv").shape == (2, 2)


ONE_SAMPLE = {
    "STAR": ("N_unmapped\t5\t5\t5\nG1\t1\t2\t3\n", "has no header: .* N_unmapped, 5, 5"),
    "HTSeq": ("ENSG00000000003\t7\nENSG00000000005\t4\n", "has no header: .*join the samples"),
    "RSEM": ("gene_id\texpected_count\tTPM\nG1\t5.5\t1.0\n", "'expected_count' of all samples"),
    "kallisto": ("target_id\tlength\test_counts\ttpm\nT1\t9\t5.5\t1\n", "'est_counts' of all"),
    "salmon": ("Name\tLength\tTPM\tNumReads\nT1\t9\t5.5\t1\n", "'numreads' of all samples"),
}


@pytest.mark.parametrize("case", ONE_SAMPLE)
def test_files_of_one_sample_say_to_join_them(tmp_path: Path, case: str) -> None:
    text, message = ONE_SAMPLE[case]
    (tmp_path / "sample.txt").write_text(text)
    with pytest.raises(DataError, match=rf"sample\.txt .*{message}"):
        load(tmp_path / "sample.txt")


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("cell,gene,count", ["a,CD4,3", "a,CD8,1", "b,CD4,2"]),
        ("cell_id,gene_id,count", ["0,7,3", "0,9,1", "1,7,2"]),
        ("doc,word,n", ["x,the,3", "y,the,1", "x,cat,2", "z,dog,1"]),
        ("gene,sample,counts", ["CD4,s1,0.0", "CD4,s2,1.0", "CD8,s1,2.0"]),
    ],
)
def test_a_long_table_says_how_to_make_it_wide(
    tmp_path: Path, header: str, rows: list[str]
) -> None:
    (tmp_path / "a.csv").write_text("\n".join([header, *rows]))
    row, column, value = header.split(",")
    with pytest.raises(
        DataError, match=f"a long table.*index='{row}', columns='{column}', values='{value}'"
    ):
        load(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("cell,CD4,CD8", ["a,3,1", "b,2,1", "c,3,0"]),
        ("x,y,z", ["3,1,1", "3,2,1", "4,1,0"]),
        ("well,CD4,CD8", ["a,3,1", "b,3,1", "c,3,1"]),
    ],
)
def test_a_narrow_table_is_no_long_one(tmp_path: Path, header: str, rows: list[str]) -> None:
    (tmp_path / "a.csv").write_text("\n".join([header, *rows]))
    assert load(tmp_path / "a.csv").n_obs == 3


@pytest.mark.parametrize("header", ["image,0,1", ",0,1", "image,28,57"])
def test_columns_may_be_numbered(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\nx,3,1\ny,0,2\n")
    assert load(tmp_path / "a.csv").shape == (2, 2)
