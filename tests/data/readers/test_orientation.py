from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from vae4counts.data import load

BARCODES = ["AAACATACAACCAC-1", "AAACATTGAGCTAC-1", "AAACATTGATCAGC-1", "AAACCGTGCTTCCG-1"]
GENES = ["ENSG00000243485", "ENSG00000237613.2", "ENSMUSG00000051951"]


SYMBOLS = ["TP53", "BRCA1", "EGFR", "A1BG", "MT-CO1", "RPS6"]
CASES = {
    "Ensembl and barcodes": (GENES, BARCODES, "columns are named like cells"),
    "Ensembl": (GENES, ["s1", "s2", "s3", "s4"], "rows are named like genes"),
    "barcodes": (
        ["a", "b", "c"],
        [f"plate1_{b}" for b in BARCODES],
        "columns are named like cells",
    ),
    "symbols": (SYMBOLS, ["s1", "s2", "s3"], "rows are named like genes"),
    "symbols of mice": (
        [name.title() for name in SYMBOLS],
        ["a", "b"],
        "rows are named like genes",
    ),
    "TCGA": (["a", "b"], ["TCGA-OR-A5J1-01", "TCGA-OR-A5J2-01"], "columns are named like samples"),
    "files": (["a", "b"], ["x/s1.bam", "x/s2.bam"], "columns are named like samples"),
    "accessions": (["a", "b"], ["GSM1", "GSM2"], "columns are named like samples"),
    "miRNA": (["hsa-mir-21", "hsa-let-7a"], ["a", "b"], "rows are named like features"),
    "peaks": (["chr1:100-200", "chr2:5-6"], ["a", "b"], "rows are named like features"),
    "OTUs": (["OTU_1", "OTU_2"], ["a", "b"], "rows are named like features"),
}


def frame_of(case: str) -> pd.DataFrame:
    rows, columns, _ = CASES[case]
    counts = np.arange(len(rows) * len(columns)).reshape(len(rows), len(columns))
    return pd.DataFrame(counts, rows, columns)


@pytest.mark.parametrize("case", CASES)
def test_a_sideways_table_is_turned(tmp_path: Path, case: str) -> None:
    frame, path = frame_of(case), tmp_path / "a.csv"
    frame.to_csv(path)
    with pytest.warns(UserWarning, match=rf"read as features x observations.*{CASES[case][2]}"):
        adata = load(path)
    assert adata.X.format == "csr"
    pd.testing.assert_frame_equal(adata.to_df(), frame.T, check_dtype=False)
    assert load(path, transpose=True).shape == frame.T.shape  # without a warning
    with pytest.warns(UserWarning, match="--transpose"):
        assert load(path, transpose=False).shape == frame.shape
    frame.T.to_csv(path)
    pd.testing.assert_frame_equal(load(path).to_df(), frame.T, check_dtype=False)


@pytest.mark.parametrize("case", CASES)
def test_a_sideways_store_is_noticed(tmp_path: Path, case: str) -> None:
    frame, path = frame_of(case), tmp_path / "a.h5ad"
    anndata.AnnData(frame).write_h5ad(path)
    with pytest.warns(UserWarning, match=rf"{CASES[case][2]}.* say so with --transpose"):
        assert load(path).shape == frame.shape
    assert load(path, transpose=True).shape == frame.T.shape
    anndata.AnnData(frame.T).write_h5ad(path)
    assert load(path).shape == frame.T.shape


def test_names_that_contradict_each_other_turn_nothing(tmp_path: Path) -> None:
    pd.DataFrame(np.eye(4, dtype=int), BARCODES, BARCODES).to_csv(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="looks like features x observations"):
        load(tmp_path / "a.csv")


def test_far_more_rows_than_columns_are_noticed(tmp_path: Path) -> None:
    counts = pd.DataFrame(np.ones((600, 3), dtype=int), [f"n{i}" for i in range(600)], list("abc"))
    counts.to_csv(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="600 rows, but 3 columns.*--transpose"):
        assert load(tmp_path / "a.csv").shape == (600, 3)
    counts.index = [f"cell{i}" for i in range(600)]
    counts.to_csv(tmp_path / "a.csv")
    assert load(tmp_path / "a.csv").shape == (600, 3)


@pytest.mark.parametrize(
    "rows",
    [["USA", "FRA", "DEU"], ["a cat", "a dog", "1"], ["S1", "S2", "S3"], ["T1", "B2", "NK"]],
)
def test_ordinary_names_are_no_evidence(tmp_path: Path, rows: list[str]) -> None:
    pd.DataFrame(np.eye(3, dtype=int), rows, ["person", "start", "Length"]).to_csv(
        tmp_path / "a.csv"
    )
    assert list(load(tmp_path / "a.csv").obs_names) == rows
