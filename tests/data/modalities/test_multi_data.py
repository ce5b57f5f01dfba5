"""Observations of several modalities are matched by name; none that one has is lost."""

from __future__ import annotations

import pandas as pd
import pytest
from anndata import AnnData

from vae4counts.data import DataError, MultiData, UnknownName, is_multi


def test_observations_are_the_union_in_a_stable_order(multi: MultiData, protein: AnnData) -> None:
    assert list(multi.obs_names) == ["c0", "c1", "c2", "c3", "c4", "new"]
    assert multi.rows("rna").tolist() == [0, 1, 2, 3, 4, -1]
    assert multi.rows("protein").tolist() == [2, 1, -1, 0, -1, 3]
    assert multi["protein"] is protein
    assert repr(multi) == "MultiData(6 observations; rna: 5 x 3, protein: 4 x 2)"
    assert multi.source is multi


def test_columns_are_joined(multi: MultiData) -> None:
    assert multi.obs["batch"].tolist() == ["x", "x", "y", "y", "y", "z"]
    assert multi.obs["protein:batch"].tolist()[:2] == ["x", "x"]
    assert multi.obs["protein:batch"].isna().tolist() == [False, False, True, False, True, False]
    assert multi.obs["plate"].dropna().tolist() == [3, 2, 1, 4]
    obs = pd.DataFrame({"batch": ["own"] * 2}, index=["c4", "c0"])
    joined = MultiData(multi.mod, obs)
    assert list(joined.obs_names) == ["c4", "c0", "c1", "c2", "c3", "new"]
    assert joined.obs["batch"].dropna().tolist() == ["own", "own"]  # what the table says counts
    assert joined.obs["rna:batch"].tolist()[:3] == ["y", "x", "x"]


def test_only(multi: MultiData) -> None:
    some = multi.only(["protein"])
    assert list(some.mod) == ["protein"]
    assert list(some.obs_names) == list(multi.obs_names)
    with pytest.raises(UnknownName, match=r"no modality 'rma'\. Did you mean 'rna'\?"):
        multi.only(["rma"])


def test_names_must_tell_observations_apart(rna: AnnData) -> None:
    rna.obs_names = ["a", "b", "b", "c", "d"]
    with pytest.raises(DataError, match=r"^Modality 'rna' names the observation 'b' twice"):
        MultiData({"rna": rna})
    with pytest.raises(DataError, match="There is no modality"):
        MultiData({})


def test_what_has_modalities(multi: MultiData, rna: AnnData) -> None:
    assert is_multi(multi)
    assert not is_multi(rna)
    assert not is_multi("file.h5mu")
