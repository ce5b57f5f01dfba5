"""Rows and columns of totals, which are neither observations nor features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae4counts.data import load


def table() -> pd.DataFrame:
    counts = np.random.default_rng(0).poisson(2.0, (6, 4))
    return pd.DataFrame(counts, [f"plot {i}" for i in range(6)], list("abcd"))


@pytest.mark.parametrize(
    "name", ["Total", "total", "SUM", "All", "row_total", "Grand Total", "total reads"]
)
@pytest.mark.parametrize("axes", ["row", "column", "both"])
def test_totals_are_left_out_and_said(tmp_path: Path, name: str, axes: str) -> None:
    with_totals = table()
    if axes != "row":
        with_totals[name] = with_totals.sum(axis=1)
    if axes != "column":
        with_totals.loc[name] = with_totals.sum()
    with_totals.to_csv(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match=f"'{name}' left out: the sum of all others"):
        adata = load(tmp_path / "a.csv")
    np.testing.assert_array_equal(adata.X.toarray(), table())
    assert list(adata.obs_names) == list(table().index)


@pytest.mark.parametrize("values", [[0] * 6, [1, 0, 2, 0, 1, 3]])
@pytest.mark.parametrize("name", ["total", "sum", "all"])
def test_words_and_species_of_such_names_stay(tmp_path: Path, name: str, values: list[int]) -> None:
    words = table()
    words[name] = values
    words.to_csv(tmp_path / "a.csv")
    assert name in load(tmp_path / "a.csv").var_names


@pytest.mark.parametrize("name", ["plot", "b2", "subtotal"])
def test_a_sum_under_another_name_stays(tmp_path: Path, name: str) -> None:
    other = table()
    other[name] = other.sum(axis=1)
    other.to_csv(tmp_path / "a.csv")
    assert name in load(tmp_path / "a.csv").var_names
