from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest

from vae4counts.data import CountMatrix, DataError, load, load_tcga_pancancer_rna_seq, top_features
from vae4counts.data.datasets import tcga as module
from vae4counts.data.datasets import transposition
from vae4counts.data.datasets.tcga import CACHE, PHENOTYPES, RNA_SEQ

N, G = 13, 30
SAMPLES = [f"TCGA-02-{number:04}-01" for number in range(N)]
GENES = [f"ENSG{number:011}.{number % 9}" for number in range(G)]


@pytest.fixture
def expected(rng: np.random.Generator) -> np.ndarray:
    """Expected counts, samples x genes: mostly zeros, many fractional, some large."""
    counts = rng.negative_binomial(0.3, 0.01, size=(N, G)).astype(float)
    counts[rng.random((N, G)) < 0.2] += 0.25
    counts[3] = 0
    counts[:, 7] = 0
    counts[5, 2] = 12_000
    return counts


@pytest.fixture
def put_table(put_xena_table: Callable[..., None]) -> Callable[..., None]:
    """Function that writes expected counts, samples x genes, as Xena does."""
    return lambda path, expected, end="\n": put_xena_table(
        path, GENES, SAMPLES, np.log2(expected.T + 1), end
    )


def put_phenotypes(path: Path, known: list[str]) -> None:
    lines = ["sample\tsample_type_id\tsample_type\t_primary_disease"]
    lines += [
        f"{name}\t1\tPrimary Tumor\tdisease {number % 3}" for number, name in enumerate(known)
    ]
    path.write_bytes(gzip.compress("\r\n".join(lines).encode()))


@pytest.fixture
def folder(
    tmp_path: Path,
    expected: np.ndarray,
    put_table: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Xena's files, read and written in pieces that do not divide the data."""
    monkeypatch.setattr(module, "STRIPE_SIZE", 4)
    monkeypatch.setattr(transposition, "STRIPE_SIZE", 4)
    monkeypatch.setattr(module, "read_blocks", lambda path: read_blocks(path, 7))
    put_table(tmp_path / RNA_SEQ.name, expected)
    put_phenotypes(tmp_path / PHENOTYPES.name, [*reversed(SAMPLES), "TCGA-99-9999-11"])
    return tmp_path


read_blocks = module.read_blocks


def test_counts_and_phenotypes(folder: Path, expected: np.ndarray) -> None:
    adata = load_tcga_pancancer_rna_seq(folder, offline=True)
    np.testing.assert_array_equal(adata.X.toarray(), np.rint(expected))
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert adata.X.has_canonical_format
    assert list(adata.obs_names) == SAMPLES
    assert list(adata.var_names) == GENES
    position = [N - 1 - number for number in range(N)]
    assert adata.obs["primary_disease"].tolist() == [f"disease {p % 3}" for p in position]
    assert set(adata.obs["sample_type"]) == {"Primary Tumor"}
    small = expected[(expected >= 0.5) & (expected < 1000)]
    fractional = (small != np.rint(small)).mean()
    assert adata.uns["rounding"]["share_fractional"] == pytest.approx(fractional)
    assert 0.1 < fractional < 0.5
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("n", [1, 5, 30, 99])
@pytest.mark.filterwarnings("ignore:.* have no counts at all")
def test_top_features_are_those_of_the_whole(folder: Path, n: int) -> None:
    whole = load_tcga_pancancer_rna_seq(folder)
    adata = load_tcga_pancancer_rna_seq(folder, n)
    wanted = top_features(whole, n)
    assert list(adata.var_names) == list(wanted.var_names)
    assert (adata.X != wanted.X).nnz == 0
    assert adata.obs.equals(whole.obs)
    assert adata.n_vars == min(n, G)


def test_it_is_read_once_and_again_when_the_table_changes(
    folder: Path,
    expected: np.ndarray,
    put_table: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_tcga_pancancer_rna_seq(folder)
    monkeypatch.setattr(module, "read_blocks", None)
    assert load_tcga_pancancer_rna_seq(folder).n_obs == N
    (folder / RNA_SEQ.name).unlink()
    assert load_tcga_pancancer_rna_seq(folder, offline=True).n_obs == N
    monkeypatch.setattr(module, "read_blocks", read_blocks)
    put_table(folder / RNA_SEQ.name, expected + 1)
    later = (folder / CACHE).stat().st_mtime_ns + 1
    os.utime(folder / RNA_SEQ.name, ns=(later, later))
    assert load_tcga_pancancer_rna_seq(folder).X.min() == 1


def test_the_cache_is_an_ordinary_file(folder: Path, expected: np.ndarray) -> None:
    load_tcga_pancancer_rna_seq(folder)
    np.testing.assert_array_equal(load(folder / CACHE).X.toarray(), np.rint(expected))
    backed = anndata.read_h5ad(folder / CACHE, backed="r")
    np.testing.assert_array_equal(backed.X[3:5].toarray(), np.rint(expected)[3:5])
    backed.file.close()


def test_samples_without_phenotype_are_reported_and_kept(folder: Path) -> None:
    put_phenotypes(folder / PHENOTYPES.name, SAMPLES[7:])
    message = r"7 of 13 observations have no primary disease .*: TCGA-02-0000-01, .*0004-01, \.\.\."
    for _ in range(2):  # from Xena's files, and from our own
        with pytest.warns(UserWarning, match=message):
            adata = load_tcga_pancancer_rna_seq(folder)
    assert adata.obs["primary_disease"].isna().tolist() == [True] * 7 + [False] * 6


def test_windows_line_ends(
    folder: Path, expected: np.ndarray, put_table: Callable[..., None]
) -> None:
    put_table(folder / RNA_SEQ.name, expected, "\r\n")
    adata = load_tcga_pancancer_rna_seq(folder)
    np.testing.assert_array_equal(adata.X.toarray(), np.rint(expected))


def test_repeated_genes_are_told_apart(folder: Path) -> None:
    text = gzip.decompress((folder / RNA_SEQ.name).read_bytes()).replace(
        GENES[4].encode(), GENES[3].encode()
    )
    (folder / RNA_SEQ.name).write_bytes(gzip.compress(text))
    adata = load_tcga_pancancer_rna_seq(folder)
    assert adata.var_names[3:5].tolist() == [GENES[3], f"{GENES[3]}-1"]


def test_values_that_are_hardly_expected_counts(
    folder: Path, rng: np.random.Generator, put_table: Callable[..., None]
) -> None:
    put_table(folder / RNA_SEQ.name, rng.gamma(1.0, 100.0, size=(N, G)))
    with pytest.warns(UserWarning, match=r"9\d% of the values .* are they expected counts"):
        load_tcga_pancancer_rna_seq(folder)


Change = Callable[[bytes], bytes]


def line_changed(line: int, change: Change) -> Change:
    def changed(text: bytes) -> bytes:
        lines = text.split(b"\n")
        lines[line - 1] = change(lines[line - 1])
        return b"\n".join(lines)

    return changed


def value_changed(value: bytes) -> Change:
    return line_changed(
        9, lambda text: b"\t".join([*text.split(b"\t")[:3], value, *text.split(b"\t")[4:]])
    )


BROKEN: dict[str, tuple[Change, str]] = {
    "ragged, short": (
        line_changed(20, lambda line: line.rpartition(b"\t")[0]),
        "line 20: has 12 values for 13 samples",
    ),
    "ragged, long": (
        line_changed(4, lambda line: line + b"\t1"),
        "line 4: has 14 values for 13 samples",
    ),
    "cut in a line": (lambda text: text[:-20], "line 31: has 11 values for 13 samples"),
    "text": (value_changed(b"3,5"), "line 9: '3,5' is not a number"),
    "negative": (
        value_changed(b"-9.9658"),
        r"line 9: -9\.9658 of sample TCGA-02-0002-01 is not log2\(expected count \+ 1\)",
    ),
    "missing": (value_changed(b"NA"), "line 9: nan of sample TCGA-02-0002-01 is not log2"),
    "empty": (value_changed(b""), "line 9: nan of sample TCGA-02-0002-01 is not log2"),
    "too large": (value_changed(b"31"), r"line 9: 31\.0 of sample"),
    "not UTF-8": (
        line_changed(12, lambda line: b"\xff" + line),
        "line 12: byte 0xff at position 0 is not UTF-8",
    ),
    "repeated sample": (
        line_changed(1, lambda line: line.replace(b"0004-01", b"0003-01")),
        "line 1: repeats the sample 'TCGA-02-0003-01'",
    ),
    "no genes": (lambda text: text.split(b"\n")[0], "has a header, but no genes"),
    "no samples": (lambda _: b"sample\n", "line 1: no samples"),
    "nothing": (lambda _: b"", "line 1: no samples"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_located(folder: Path, case: str) -> None:
    change, message = BROKEN[case]
    path = folder / RNA_SEQ.name
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))
    with pytest.raises(DataError, match=message) as caught:
        load_tcga_pancancer_rna_seq(folder)
    assert str(path) in str(caught.value)
    assert len(list(folder.iterdir())) == 2


def test_a_truncated_gzip(folder: Path) -> None:
    path = folder / RNA_SEQ.name
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"Cannot read {path} as a table: Compressed file ended"):
        load_tcga_pancancer_rna_seq(folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"sample\tsample_type\nA\tx\n", "line 1: has no column '_primary_disease'"),
        (b"sample\tsample_type\t_primary_disease\nA\tx\n", "line 2: has 2 values for 3 columns"),
        (
            b"sample\tsample_type\t_primary_disease\nA\tx\ty\n\nA\tx\ty\n",
            "line 4: repeats 'A' of line 2",
        ),
        (b"sample\tsample_type\t_primary_disease\nA\tx\t\xe9\n", "line 2: byte 0xe9 at position 4"),
    ],
)
def test_broken_phenotypes(folder: Path, text: bytes, message: str) -> None:
    (folder / PHENOTYPES.name).write_bytes(gzip.compress(text))
    with pytest.raises(DataError, match=message):
        load_tcga_pancancer_rna_seq(folder)


def test_a_missing_file_says_where_to_get_it(folder: Path) -> None:
    (folder / PHENOTYPES.name).unlink()
    with pytest.raises(DataError) as caught:
        load_tcga_pancancer_rna_seq(folder, offline=True)
    for word in (PHENOTYPES.name, PHENOTYPES.url, str(folder)):
        assert word in str(caught.value)


def test_no_features_to_keep(folder: Path) -> None:
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        load_tcga_pancancer_rna_seq(folder, 0)


@pytest.mark.filterwarnings("ignore:.* have no counts at all")
def test_ready_for_batches(folder: Path) -> None:
    counts = CountMatrix.from_anndata(
        load_tcga_pancancer_rna_seq(folder), covariates=["primary_disease"]
    )
    assert len(counts) == N


def test_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE4COUNTS_DATA", str(folder.parent))
    folder.rename(folder.parent / "tcga-pancancer")
    for name in ("tcga-pancancer", "tcga-pancancer-top5000"):
        assert load(name, offline=True).shape == (N, G)
