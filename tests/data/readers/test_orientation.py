from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from vae4counts.data import load

BARCODES = ["AAACATACAACCAC-1", "AAACATTGAGCTAC-1", "AAACATTGATCAGC-1", "AAACCGTGCTTCCG-1"]
GENES = ["ENSG00000243485", "ENSG00000237613.2", "ENSMUSG00000051951"]


def write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path)
    else:
        anndata.AnnData(frame).write_h5ad(path)


@pytest.mark.parametrize("end", [".csv", ".h5ad"])
@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (GENES, BARCODES, "columns are named like cells"),
        (GENES, ["s1", "s2", "s3", "s4"], "rows are named like genes"),
        (["a", "b", "c"], [f"plate1_{name}" for name in BARCODES], "columns are named like cells"),
    ],
)
def test_transposed_data_are_noticed(
    tmp_path: Path, end: str, rows: list[str], columns: list[str], said: str
) -> None:
    frame = pd.DataFrame(np.ones((3, 4), dtype=int), rows, columns)
    path = tmp_path / f"a{end}"
    write(frame, path)
    with pytest.warns(UserWarning, match=rf"a{end} looks like features x observations.*{said}"):
        load(path)
    write(frame.T, path)
    assert load(path).shape == (4, 3)  # and no warning
