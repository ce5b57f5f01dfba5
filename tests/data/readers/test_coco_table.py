from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae4counts.data import DataError, load, read_coco_table


def test_table_of_counts(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(
        "id,license,[person]-[person],[hot dog]-[food]\n394940,3,1,0\n15335,2,11,2\n",
        encoding="utf-8",
    )
    adata = load(path)
    assert adata.X.toarray().tolist() == [[1, 0], [11, 2]]
    assert list(adata.obs_names) == ["394940", "15335"]
    assert adata.obs["license"].tolist() == [3, 2]
    assert list(adata.var_names) == ["person", "hot dog"]
    assert adata.var["supercategory"].tolist() == ["person", "food"]


def test_other_tables_are_not_tables_of_counts(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("id,license,person\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"counts\.csv is not a table of COCO counts"):
        read_coco_table(path)


def test_a_table_without_categories_is_not_one_of_coco(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,license\n1,2\n")
    with pytest.raises(DataError, match=r"\[category\]-\[supercategory\]"):
        read_coco_table(tmp_path / "table.csv")


def test_agrees_with_the_published_table(shared_data: Path) -> None:
    counted = load(shared_data / "coco_tiny_instances_val2017.json.gz")
    path = shared_data / "coco2017-val-counts.csv"
    table = load(path)
    assert table.shape == (5000, 80)
    raw = pd.read_csv(path, index_col="id")
    np.testing.assert_array_equal(table.X.toarray(), raw.iloc[:, 1:])
    same = table[counted.obs_names, counted.var_names]
    np.testing.assert_array_equal(counted.X.toarray(), same.X.toarray())
    assert list(counted.var_names) == list(table.var_names)
    assert counted.obs["license"].tolist() == same.obs["license"].tolist()
    assert counted.var["supercategory"].tolist() == table.var["supercategory"].tolist()
