from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vae4counts.data import CountMatrix, DataError


def made(value: float, row: int = 1, column: int = 2) -> anndata.AnnData:
    """Make 4 cells x 3 genes of ones, except for one value."""
    counts = np.ones((4, 3), dtype=np.float32)
    counts[row, column] = value
    return anndata.AnnData(
        X=sp.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(4)]),
        var=pd.DataFrame(index=[f"gene{j}" for j in range(3)]),
    )


@pytest.mark.parametrize(
    ("value", "fault", "advice"),
    [
        (-2.0, "a negative value, -2.0", "scaled"),
        (0.5, "a fractional value, 0.5", "log-normalised"),
        (np.nan, "a value that is not finite, nan", "fill or drop"),
        (np.inf, "a value that is not finite, inf", "fill or drop"),
        (-np.inf, "a value that is not finite, -inf", "fill or drop"),
    ],
)
def test_bad_values_are_named_and_located(value: float, fault: str, advice: str) -> None:
    with pytest.raises(DataError) as caught:
        CountMatrix.from_anndata(made(value))
    message = str(caught.value)
    assert message.startswith(f"X has {fault}, at row 1 ('cell1'), column 2 ('gene2'). ")
    assert advice in message
    assert "layer=... (--layer on the command line); other layers here: none." in message
    assert "\n" not in message


def test_the_first_offender_is_named_past_empty_rows() -> None:
    counts = np.zeros((5, 3))
    counts[0, 1] = 1
    counts[3, 0] = 0.25
    counts[4, 2] = 0.75
    with pytest.raises(DataError, match=r"0\.25, at row 3, column 0\. .* not raw counts\.$"):
        CountMatrix.from_scipy(counts)


def test_other_layers_are_listed() -> None:
    adata = made(0.5)
    adata.layers["counts"] = np.ones((4, 3))
    adata.layers["scaled"] = -np.ones((4, 3))
    with pytest.raises(DataError, match="other layers here: 'counts', 'scaled'"):
        CountMatrix.from_anndata(adata)
    with pytest.raises(DataError, match=r"^Layer 'scaled' has .* other layers here: 'counts'\.$"):
        CountMatrix.from_anndata(adata, layer="scaled")
    assert len(CountMatrix.from_anndata(adata, layer="counts")) == 4


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_data_is_refused(shape: tuple[int, int]) -> None:
    wanted = rf"{shape[0]} observations \(rows\) and {shape[1]} features \(columns\)"
    with pytest.raises(DataError, match=wanted):
        CountMatrix.from_scipy(sp.csr_matrix(shape))


def test_zero_rows_and_columns_are_kept_with_one_warning_each() -> None:
    counts = np.zeros((5, 4))
    counts[1, 2] = counts[3, 2] = 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix = CountMatrix.from_scipy(counts)
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert said == [
        "The matrix: 3 of 5 observations have no counts at all.",
        "The matrix: 3 of 4 features have no counts at all.",
    ]
    # they point to the caller, not into the package
    assert {each.filename for each in caught if issubclass(each.category, UserWarning)} == {
        __file__
    }
    assert matrix.library.tolist() == [0, 1, 0, 1, 0]


def test_counts_beyond_float32_warn() -> None:
    with pytest.warns(UserWarning, match="counts up to 16777217"):
        CountMatrix.from_scipy(np.array([[2**24 + 1]]))
    CountMatrix.from_scipy(np.array([[2**24]]))
