"""Classes of observations as text, whatever a column holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vae4counts.data import classes_of

NA = None


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["a", None, "", "  ", "b"], ["a", NA, NA, NA, "b"]),
        (["None", "NA", "nano"], ["None", "NA", "nano"]),  # text that a person has written
        (["a", "nan", "NaN"], ["a", NA, NA]),  # what astype(str) makes of a missing value
        (["a", "<NA>", "NaT", " nan "], ["a", NA, NA, NA]),
        (pd.Categorical(["nan", "b"]), [NA, "b"]),
        ([1, 2, 2], ["1", "2", "2"]),
        ([1.0, np.nan, 2.0], ["1", NA, "2"]),
        (np.array([1, 2.5], dtype=np.float32), ["1", "2.5"]),
        ([True, False], ["True", "False"]),
        (pd.array([1, None, 3], dtype="Int64"), ["1", NA, "3"]),
        (pd.array([True, None], dtype="boolean"), ["True", NA]),
        (pd.array(["x", None], dtype="string"), ["x", NA]),
        (pd.Categorical(["b", None, "a"]), ["b", NA, "a"]),
        (pd.Categorical([3.0, None, 1.0]), ["3", NA, "1"]),
        ([], []),
        ([None, np.nan], [NA, NA]),
    ],
)
def test_classes(values: Any, wanted: list[str | None]) -> None:
    found = classes_of(pd.Series(values))
    assert [None if pd.isna(value) else value for value in found] == wanted
