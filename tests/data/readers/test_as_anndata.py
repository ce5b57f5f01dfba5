from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vae4counts.data.readers.as_anndata import as_anndata, compact_csr, unique_names


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (3.0, np.int32),
        (2.0**31 - 1, np.int32),
        (2.0**31, np.float32),
        (0.5, np.float32),
        (np.nan, np.float32),
        (np.inf, np.float32),
    ],
)
def test_whole_numbers_become_int32_and_nothing_is_lost(value: float, dtype: type) -> None:
    csr = compact_csr(np.array([[0.0, value]]))
    assert isinstance(csr, sp.csr_matrix)
    assert csr.dtype == dtype
    np.testing.assert_array_equal(csr.toarray(), [[0.0, value]])


def test_names_are_made_unique_without_taking_a_name_that_is_there() -> None:
    assert list(unique_names(["a", "a", "a-1", "b", "a"])) == ["a", "a-2", "a-1", "b", "a-3"]
    assert list(unique_names([7, 7])) == ["7", "7-1"]


def test_as_anndata_keeps_columns_and_leaves_its_tables_alone() -> None:
    obs = pd.DataFrame({"site": [1, 2]}, index=[5, 5])
    adata = as_anndata(sp.csc_matrix([[1, 0], [0, 2]]), obs, pd.DataFrame(index=["g", "h"]))
    assert list(adata.obs_names) == ["5", "5-1"]
    assert adata.obs["site"].tolist() == [1, 2]
    assert list(obs.index) == [5, 5]
    assert adata.X.format == "csr"
