from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vae4counts.data import (
    DataError,
    load,
    load_tcga_pancancer_methylation,
    load_tcga_pancancer_mirna,
    load_tcga_pancancer_multi_omics,
)
from vae4counts.data.datasets import tcga_omics as module
from vae4counts.data.datasets.tcga import PHENOTYPES, RNA_SEQ
from vae4counts.data.datasets.tcga_omics import METHYLATION, MIRNA
from vae4counts.data.readers.xena import read_blocks

SAMPLES = [f"TCGA-{number:02}" for number in range(8)]
OTHERS = [*SAMPLES[6:1:-1], "TCGA-98", "TCGA-99"]  # without 0, 1 and 7, in another order
PROBES = [f"cg{number:08}" for number in range(20)]


@pytest.fixture
def beta(rng: np.random.Generator) -> np.ndarray:
    """Probes x samples, of very different variance, with values missing."""
    values = rng.beta(0.5, 0.5, size=(20, len(OTHERS)))
    values = 0.5 + (values - 0.5) * rng.random((20, 1))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[11] = np.nan
    return np.round(values, 4)


@pytest.fixture
def mirna(rng: np.random.Generator) -> np.ndarray:
    """MicroRNAs x samples, with negative and missing values."""
    values = np.round(rng.normal(3, 3, size=(4, len(OTHERS))), 4)
    values[2, 1] = np.nan
    return values


@pytest.fixture
def folder(
    tmp_path: Path,
    rng: np.random.Generator,
    beta: np.ndarray,
    mirna: np.ndarray,
    put_xena_table: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    monkeypatch.setattr(module, "BLOCK_SIZE", 3)
    monkeypatch.setattr(module, "read_blocks", lambda path: read_blocks(path, 3))
    counts = rng.poisson(5, size=(6, 8)) + 1
    put_xena_table(tmp_path / RNA_SEQ.name, list("abcdef"), SAMPLES, np.log2(counts + 1))
    put_xena_table(tmp_path / MIRNA.name, ["let-7a", "miR-1", "miR-1", "miR-9"], OTHERS, mirna)
    put_xena_table(tmp_path / METHYLATION.name, PROBES, OTHERS, beta)
    lines = ["sample\tsample_type\t_primary_disease", *(f"{name}\ta\tb" for name in SAMPLES)]
    (tmp_path / PHENOTYPES.name).write_bytes(gzip.compress("\n".join(lines).encode()))
    return tmp_path


def test_micro_rna(folder: Path, mirna: np.ndarray) -> None:
    adata = load_tcga_pancancer_mirna(folder)
    assert adata.X.dtype == np.float32
    np.testing.assert_allclose(adata.X, mirna.T, rtol=1e-6)
    assert list(adata.obs_names) == OTHERS
    assert list(adata.var_names) == ["let-7a", "miR-1", "miR-1-1", "miR-9"]
    (folder / MIRNA.name).unlink()
    assert load_tcga_pancancer_mirna(folder, offline=True).shape == (7, 4)


@pytest.mark.parametrize("top", [1, 2, 6, 20, 50])
def test_probes_of_the_highest_variance(folder: Path, beta: np.ndarray, top: int) -> None:
    adata = load_tcga_pancancer_methylation(folder, top)
    values = np.where(np.isnan(beta).all(1, keepdims=True), 0, beta)
    order = np.argsort(-np.nanvar(values, axis=1), kind="stable")
    kept = np.sort(order[:top])
    assert list(adata.var_names) == [PROBES[row] for row in kept]
    assert adata.X.dtype == np.float32
    np.testing.assert_allclose(adata.X, beta[kept].T, rtol=1e-6)
    assert sorted(path.suffix for path in folder.iterdir()) == [".gz"] * 4 + [".h5ad"]


def test_modalities_are_aligned_and_the_unmatched_reported(
    folder: Path, mirna: np.ndarray, beta: np.ndarray
) -> None:
    with pytest.warns(UserWarning, match="observations have") as caught:
        adata = load_tcga_pancancer_multi_omics(folder, 4, top_probes=6)
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert said == [
        f"{text}"
        for name in ("mirna", "methylation")
        for text in (
            f"3 of 8 observations have no {name}: TCGA-00, TCGA-01, TCGA-07",
            f"2 of 7 observations have {name} only and are left out: TCGA-98, TCGA-99",
        )
    ]
    assert adata.shape == (8, 4)
    assert adata.obs["has_mirna"].tolist() == [False, False, *[True] * 5, False]
    assert (adata.obs["has_methylation"] == adata.obs["has_mirna"]).all()
    expected = np.full((8, 4), np.nan)
    expected[2:7] = mirna.T[4::-1]
    np.testing.assert_allclose(adata.obsm["mirna"], expected, rtol=1e-6)
    assert adata.obsm["mirna"].dtype == np.float32
    rows = [PROBES.index(name) for name in adata.uns["methylation_features"]]
    np.testing.assert_allclose(adata.obsm["methylation"][2:7], beta.T[4::-1, rows], rtol=1e-6)
    assert adata.obsm["methylation"].shape == (8, 6)
    adata.write_h5ad(folder / "all.h5ad")
    read = load(folder / "all.h5ad")
    assert read.uns["mirna_features"].tolist() == ["let-7a", "miR-1", "miR-1-1", "miR-9"]
    np.testing.assert_array_equal(read.obsm["mirna"], adata.obsm["mirna"])


def test_nothing_in_common_is_an_error(folder: Path) -> None:
    path = folder / MIRNA.name
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"TCGA", b"GTEX")))
    with pytest.raises(DataError, match=r"None of the 8 .* has mirna: .*'TCGA-00'.*'GTEX-06'"):
        load_tcga_pancancer_multi_omics(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"1.0001", r"line 2: 1\.0001 of sample TCGA-06 is not finite and from 0 to 1"),
        (b"-0.1", r"line 2: -0\.1 of sample TCGA-06 is not finite and from 0 to 1"),
        (b"inf", "line 2: inf of sample TCGA-06 is not finite"),
        (b"high", "line 2: 'high' is not a number"),
    ],
)
def test_values_out_of_range(folder: Path, value: bytes, message: str) -> None:
    path = folder / METHYLATION.name
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    lines[1] = b"\t".join([b"cg", value, *lines[1].split(b"\t")[2:]])
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    with pytest.raises(DataError, match=message):
        load_tcga_pancancer_methylation(folder)
    assert len(list(folder.iterdir())) == 4


def test_no_features(folder: Path) -> None:
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        load_tcga_pancancer_methylation(folder, 0)
    (folder / MIRNA.name).write_bytes(gzip.compress(b"sample\ta\n"))
    with pytest.raises(DataError, match="has a header, but no features"):
        load_tcga_pancancer_mirna(folder)
