"""Modalities are found where they are said to be, without the observations that lack them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import DataError, MultiData, UnknownName, modalities_of


def test_arrays_of_an_anndata(with_arrays: AnnData) -> None:
    found = modalities_of(with_arrays, ["counts", "beta", "words", "sites"])
    assert list(found.mod) == ["counts", "beta", "words", "sites"]
    assert found["counts"] is with_arrays
    assert found.source is with_arrays
    assert list(found.obs_names) == list(with_arrays.obs_names)
    assert list(found["beta"].var_names) == ["p1", "p2"]
    assert found.rows("beta").tolist() == [0, -1, 1, 2, 3]  # a row of NaN is absent
    assert list(found["words"].var_names) == ["cat", "dog", "A", "hat"]
    assert found.rows("words").tolist() == [0, 1, 2, -1, 3]  # has_words; a row of zeros is not
    assert found["words"].X.toarray()[3].tolist() == [0, 0, 0, 0]
    assert list(found["sites"].var_names) == ["sites0", "sites1"]
    everything = modalities_of(with_arrays)
    assert list(everything.mod) == ["counts", "beta", "words", "sites"]


def test_places(with_arrays: AnnData) -> None:
    with_arrays.layers["raw counts"] = 2 * with_arrays.X
    places = {"words": "obsm/words", "rna": "layers/raw counts"}
    found = modalities_of(with_arrays, ["rna", "words"], places)
    assert list(found.mod) == ["rna", "words"]
    assert found.layer_of == {"rna": "raw counts", "words": None}
    (only,) = modalities_of(with_arrays, ["rna"], layer="raw counts").mod
    assert only == "rna"


def test_modalities_of_a_mudata(multi: MultiData, rna: AnnData, protein: AnnData) -> None:
    rna.layers["raw"] = rna.X.copy()
    found = modalities_of(
        multi, ["protein", "gex"], {"gex": "rna/layers/raw", "protein": "protein"}
    )
    assert list(found.mod) == ["protein", "gex"]
    assert found.layer_of == {"gex": "raw", "protein": None}
    assert found.source is multi
    # of MuData's class, only these attributes are used
    duck: Any = SimpleNamespace(mod={"rna": rna, "protein": protein}, obs=multi.obs, axis=0)
    found = modalities_of(duck, ["rna", "protein"])
    assert found.source is duck
    assert list(found.obs_names) == list(multi.obs_names)
    duck.axis = 1
    with pytest.raises(DataError, match="share features"):
        modalities_of(duck)
    protein.X[1] = np.nan
    assert modalities_of(multi).rows("protein").tolist() == [1, -1, -1, 0, -1, 2]
    protein.X = sp.csr_matrix(protein.X)
    assert modalities_of(multi).rows("protein").tolist() == [1, -1, -1, 0, -1, 2]


@pytest.mark.parametrize(
    ("values", "present"),
    [
        (["True", "False", "", "true", None], [0, 3]),
        ([1, 0, 0, 1, 1], [0, 3, 4]),
        ([1.0, 0.0, np.nan, 1.0, 0.0], [0, 3]),
    ],
)
def test_what_a_column_may_say(with_arrays: AnnData, values: list[Any], present: list[int]) -> None:
    with_arrays.obs["has_sites"] = np.array(values, dtype=object)
    found = modalities_of(with_arrays, ["counts", "sites"])
    assert np.flatnonzero(found.rows("sites") >= 0).tolist() == present


def test_a_column_that_says_something_else(with_arrays: AnnData) -> None:
    with_arrays.obs["has_sites"] = ["yes", "no", "yes", "no", "no"]
    with pytest.raises(DataError, match=r"'has_sites' has 'yes' at row 0 \('c0'\)"):
        modalities_of(with_arrays, ["counts", "sites"])


def test_what_is_not_there(with_arrays: AnnData, multi: MultiData) -> None:
    with pytest.raises(UnknownName, match=r"no array in obsm 'protein'.*Modality 'protein' is to"):
        modalities_of(with_arrays, ["counts", "protein"])
    with pytest.raises(UnknownName, match=r"no modality 'counts'.*'protein', 'rna'.*modalities="):
        modalities_of(multi, ["counts"])
    with pytest.raises(UnknownName, match=r"no layer 'nope'"):
        modalities_of(multi, ["rna"], {"rna": "rna/layers/nope"})
    for place in ("Y", "obsm", "layers/", "X/a"):
        with pytest.raises(DataError, match=r"'words' is said to be at .*a place is \"X\""):
            modalities_of(with_arrays, ["words"], {"words": place})
    with pytest.raises(UnknownName, match=r"no table of the model 'word'\. Did you mean 'words'"):
        modalities_of(with_arrays, ["words"], {"words": "X", "word": "X"})
    with pytest.raises(DataError, match="does not say where the model's 'words' is"):
        modalities_of(with_arrays, ["counts", "words"], {"counts": "X"})
    with pytest.raises(DataError, match="layer='raw' and modalities= are given"):
        modalities_of(with_arrays, ["words"], {"words": "X"}, "raw")
    with pytest.raises(DataError, match="layer='raw' is of one modality"):
        modalities_of(multi, ["rna"], layer="raw")
    with_arrays.uns["words_features"] = ["cat"]
    with pytest.raises(DataError, match=r"has 1 names, but obsm\['words'\] has 4 columns"):
        modalities_of(with_arrays, ["counts", "words"])


def test_data_may_lack_modalities_where_that_is_said(multi: MultiData, rna: AnnData) -> None:
    with pytest.warns(UserWarning, match=r"no table for these modalities.*: 'protein'"):
        modalities_of(multi, ["rna"])
    for data in (multi, rna):
        other = ["rna", "beta"] if data is multi else ["counts", "beta"]
        with pytest.warns(UserWarning, match="data lack the modality 'beta'"):
            found = modalities_of(data, other, lacking=True)
        assert list(found.mod) == other[:1]
    with pytest.raises(UnknownName, match=r"no modality 'beta'"):
        modalities_of(multi, ["beta"], lacking=True)
