from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import DataError, add_modality


def table(names: str, values: object) -> AnnData:
    return AnnData(values, obs=pd.DataFrame(index=list(names)))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_rows_go_to_their_observations(form: type) -> None:
    adata = table("abcd", sp.csr_matrix((4, 1)))
    values = np.array([[1, 0, 2], [3, 4, 0], [5, 6, 7]], dtype=np.float32)
    with pytest.warns(UserWarning, match="observations have") as caught:
        add_modality(adata, "protein", table("dxa", form(values)))
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert said == [
        "2 of 4 observations have no protein: b, c",
        "1 of 3 observations have protein only and are left out: x",
    ]
    found = adata.obsm["protein"]
    absent = 0 if sp.issparse(found) else np.nan
    found = found.toarray() if sp.issparse(found) else found
    np.testing.assert_array_equal(found, [values[2], [absent] * 3, [absent] * 3, values[0]])
    assert found.dtype == np.float32
    assert adata.obs["has_protein"].tolist() == [True, False, False, True]
    assert adata.uns["protein_features"].tolist() == ["0", "1", "2"]


def test_no_warning_if_all_are_in_both() -> None:
    adata = table("ab", sp.csr_matrix((2, 1)))
    add_modality(adata, "words", table("ba", sp.csr_matrix(np.array([[1], [2]]))))
    assert adata.obsm["words"].toarray().tolist() == [[2], [1]]
    assert adata.obsm["words"].dtype == np.int64


def test_none_in_both_is_an_error() -> None:
    adata = table("ab", sp.csr_matrix((2, 1)))
    with pytest.raises(DataError, match=r"None of the 2 observations has words: .* 'a', .* 'A'"):
        add_modality(adata, "words", table("AB", sp.csr_matrix((2, 1))))
    assert not adata.obsm
