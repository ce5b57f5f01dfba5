from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vae4counts.data import DataError, UnknownName
from vae4counts.data.counts.columns import column_tensor, covariate_tensors, find_column


def column(values: object, **options: object) -> pd.Series:
    made = pd.Series(values, name="site", **options)  # type: ignore[call-overload]
    return made.set_axis([f"o{i}" for i in range(len(made))])


@pytest.mark.parametrize("values", [[0, 2, 5], [0.5, 2.0, 5.0], [True, False, True]])
def test_numbers_and_truth_values_stay_numbers(values: list[float]) -> None:
    tensor = column_tensor(column(values), None)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [float(value) for value in values]


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_text_is_coded_by_its_sorted_values(kind: str) -> None:
    obs = column(["y", "x", "z", "x"], dtype=kind).to_frame()
    tensor = covariate_tensors(obs, ["site"])["site"]
    assert tensor.dtype == torch.int64
    assert tensor.tolist() == [1, 0, 2, 0]


def test_category_codes_are_not_used() -> None:
    given = pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"])
    obs = column(given).to_frame()
    assert covariate_tensors(obs, ["site"])["site"].tolist() == [1, 0, 1]


def test_a_file_that_lacks_levels_is_coded_like_the_whole() -> None:
    levels = ["c", "a", "b"]
    whole = column(["a", "b", "c", "b"], dtype="category")
    codes = column_tensor(whole, levels)
    assert codes.tolist() == [1, 2, 0, 2]
    held_out = whole[[False, True, False, True]]
    held_out = held_out.cat.remove_unused_categories()  # as anndata does when it copies
    assert torch.equal(column_tensor(held_out, levels), codes[[1, 3]])


@pytest.mark.parametrize("values", [[3, 1, 3], ["3", "1", "3"], pd.Categorical([3, 1, 3])])
def test_levels_are_compared_as_text(values: object) -> None:
    assert column_tensor(column(values), ["1", "2", "3"]).tolist() == [2, 0, 2]
    with pytest.raises(DataError, match=r"unknown level '3' at row 0 \('o0'\)"):
        column_tensor(column(values), ["1", "2"])


def test_truth_values_can_be_levels() -> None:
    assert column_tensor(column([True, False]), ["False", "True"]).tolist() == [1, 0]


@pytest.mark.parametrize("values", [["a", "b", "x"], pd.Categorical(["a", "b", "x"])])
def test_an_unknown_level_lists_the_known_ones(values: object) -> None:
    with pytest.raises(DataError) as caught:
        column_tensor(column(values), ["b", "a"])
    assert str(caught.value) == (
        "Column 'site' has the unknown level 'x' at row 2 ('o2'). Known levels: 'b', 'a'."
    )


@pytest.mark.parametrize(
    ("values", "levels", "message"),
    [
        (["b", None, "a"], ["a", "b", "c"], r"row 1 .* Known levels: 'a', 'b', 'c'\.$"),
        (pd.Categorical([None, None]), [], r"row 0 .*Known levels: none\.$"),
        ([1.0, np.nan, 2.0], None, r"row 1 \('o1'\): fill it in or drop the observation\.$"),
    ],
)
def test_a_missing_value_is_an_error(
    values: object, levels: list[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=rf"^Column 'site' has no value at {message}"):
        column_tensor(column(values), levels)


def test_covariates_by_name_or_with_levels() -> None:
    obs = pd.DataFrame({"site": ["b", "c"], "depth": [1.5, 2.5]})
    tensors = covariate_tensors(obs, ["site", "depth"])
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "site": [0, 1],
        "depth": [1.5, 2.5],
    }
    tensors = covariate_tensors(obs, {"site": ["a", "b", "c"], "depth": None})
    assert tensors["site"].tolist() == [1, 2]
    assert tensors["depth"].tolist() == [1.5, 2.5]


def test_an_unknown_column_lists_those_that_exist() -> None:
    with pytest.raises(UnknownName, match=r"no column 'batch'\. Known: 'site'"):
        find_column(pd.DataFrame({"site": ["x"]}), "batch")
