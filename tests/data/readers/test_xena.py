from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae4counts.data import DataError, counts_of, load
from vae4counts.data.readers.xena import read_blocks, read_samples

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)
VALUES = st.none() | st.floats(-1e6, 1e6) | st.integers(-9, 9).map(float)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    samples=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    rows=st.lists(st.tuples(NAMES, st.lists(VALUES, min_size=4, max_size=4)), max_size=7),
    end=st.sampled_from(["\n", "\r\n"]),
    absent=st.sampled_from(["NA", ""]),
    closed=st.booleans(),
    size=st.integers(1, 4),
    suffix=st.sampled_from([".tsv", ".gz"]),
)
def test_blocks_are_the_table(
    tmp_path: Path,
    samples: list[str],
    rows: list[tuple[str, list[float | None]]],
    end: str,
    absent: str,
    closed: bool,
    size: int,
    suffix: str,
) -> None:
    n = len(samples)
    lines = ["\t".join(["sample", *samples])]
    for name, values in rows:
        texts = (absent if value is None else repr(value) for value in values[:n])
        lines.append("\t".join([name, *texts]))
    text = (end.join(lines) + end * closed).encode()
    path = tmp_path / f"table{suffix}"
    path.write_bytes(gzip.compress(text) if suffix == ".gz" else text)
    assert read_samples(path) == samples
    blocks = list(read_blocks(path, size))
    assert [name for block in blocks for name in block.features] == [name for name, _ in rows]
    assert [line for block in blocks for line in block.lines] == list(range(2, len(rows) + 2))
    found = [row for block in blocks for row in block.numbers.tolist()]
    for row, (_, values) in zip(found, rows, strict=True):
        for number, value in zip(row, values[:n], strict=True):
            assert math.isnan(number) if value is None else number == pytest.approx(value)


def test_quotes_are_ordinary_characters(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text('sample\t"a"\tb\n"g"\t1\t2\n')
    assert read_samples(path) == ['"a"', "b"]
    (block,) = read_blocks(path)
    assert block.features == ['"g"']
    np.testing.assert_array_equal(block.numbers, [[1, 2]])
    path.write_text('sample\ta\tb\ng\t"1\t2\nh\t1"\t2\n')
    with pytest.raises(DataError, match=r"table\.tsv, line 2: '\"1' is not a number"):
        list(read_blocks(path))


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("sample\ta\n\ng\t1\n  \nh\t2\n\n")
    (block,) = read_blocks(path)
    assert (block.features, block.lines) == (["g", "h"], [3, 5])


NAMES = [
    "tcga_gene_expected_count.gz",
    "TcgaTargetGtex_gene_expected_count.gz",
    "TCGA-BRCA.htseq_counts.tsv.gz",
    "TCGA-BRCA.star_counts.tsv.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_known_names_are_counts_again(
    tmp_path: Path, name: str, put_xena_table: Callable[..., None]
) -> None:
    counts = np.array([[0, 3], [1200, 7], [5, 0]])
    samples, features = ["TCGA-OR-A5J1-01", "TCGA-OR-A5J2-01"], ["ENSG1", "ENSG2", "ENSG3"]
    put_xena_table(tmp_path / name, features, samples, np.log2(counts + 1))
    with pytest.warns(UserWarning, match=r"holds log2\(count \+ 1\) of features x samples"):
        adata = load(tmp_path / name)
    assert adata.X.toarray().tolist() == counts.T.tolist()
    assert (list(adata.obs_names), list(adata.var_names)) == (samples, features)
    put_xena_table(tmp_path / name, features, samples, counts * 1.0)
    with pytest.raises(DataError, match=r"line 3: 1200\.0 of sample TCGA-OR-A5J1-01 is not log2"):
        load(tmp_path / name)


def test_normalised_files_are_read_as_they_are_and_refused(
    tmp_path: Path, put_xena_table: Callable[..., None]
) -> None:
    samples = ["TCGA-OR-A5J1-01", "TCGA-OR-A5J2-01"]
    put_xena_table(tmp_path / "HiSeqV2.gz", ["TP53", "EGFR"], samples, np.array([[0.5, 1], [2, 3]]))
    with pytest.warns(UserWarning, match="read as features x observations"):
        adata = load(tmp_path / "HiSeqV2.gz")
    assert list(adata.obs_names) == samples
    with pytest.raises(DataError, match=r"fractional value, 0\.5, at row 0"):
        counts_of(adata)
