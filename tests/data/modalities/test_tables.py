# ruff: noqa: PD011 (`values` are a field of a table, not of a pandas object)
"""Tables hold the values of the data, where a likelihood takes them; others are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from vae4counts.data import (
    CountMatrix,
    DataError,
    MultiData,
    Tables,
    ValueMatrix,
    counts_of,
    feature_names,
    features_of,
    modalities_of,
    read_tables,
)
from vae4counts.data.modalities.names import own_names

COUNT, VALUE, SHARE, BINARY = (
    constraints.nonnegative_integer,
    constraints.real,
    constraints.unit_interval,
    constraints.boolean,
)


def read(data: object, **supports: Constraint) -> Tables:
    tables = read_tables(data, supports)
    assert isinstance(tables, Tables)
    return tables


@pytest.mark.filterwarnings("ignore:Modality 'words'.* no counts at all:UserWarning")
def test_modalities_of_several_kinds(with_arrays: AnnData) -> None:
    supports = {"counts": COUNT, "words": BINARY, "beta": SHARE}
    tables = read_tables(with_arrays, supports, covariates={"batch": ["x", "y"]})
    (batch,) = tables.batches(8)
    counts, words, beta = batch.tables.values()
    np.testing.assert_array_equal(counts.values.to_dense(), with_arrays.X.toarray())
    assert (counts.rows, counts.library.dtype) == (None, words.library.dtype)
    present = [0, 1, 2, 4]
    np.testing.assert_array_equal(words.rows, present)
    np.testing.assert_array_equal(
        words.values.to_dense(), with_arrays.obsm["words"].toarray()[present]
    )
    np.testing.assert_array_equal(beta.rows, [0, 2, 3, 4])
    np.testing.assert_array_equal(beta.values, with_arrays.obsm["beta"].to_numpy()[beta.rows])
    assert beta.library is None
    assert beta.values[2, 0].isnan()
    assert batch.covariates["batch"].tolist() == [0, 0, 1, 1, 1]
    assert list(tables.libraries) == ["counts", "words"]


def test_modalities_in_another_order(multi: MultiData) -> None:
    tables = read(multi, protein=COUNT, rna=COUNT)
    assert list(tables.members) == ["protein", "rna"]
    (batch,) = tables.batches(8)
    protein, rna = batch.tables.values()
    np.testing.assert_array_equal(protein.rows, [0, 1, 3, 5])
    np.testing.assert_array_equal(protein.values.to_dense(), multi["protein"].X[[2, 1, 0, 3]])
    np.testing.assert_array_equal(rna.rows, range(5))
    # the same from what has been found before
    found = modalities_of(multi, ["protein", "rna"])
    assert len(read(found, protein=COUNT, rna=COUNT)) == 6


def test_counts_of_one_anndata_are_read_as_ever(rna: AnnData) -> None:
    there = read_tables(rna, {"counts": COUNT}, covariates=["batch"])
    here = counts_of(rna, covariates=["batch"])
    assert isinstance(there, CountMatrix)
    assert isinstance(here, CountMatrix)
    assert there.values.equal(here.values)
    assert there.covariates.keys() == here.covariates.keys()
    rna.X[1, 2] = 0.5
    with pytest.raises(DataError, match=r"^X has a fractional value, 0\.5, at row 1 \('c1'\)"):
        read_tables(rna, {"counts": COUNT})


def test_one_table_of_other_values(rna: AnnData) -> None:
    rna.layers["log"] = np.log(rna.X.toarray())
    tables = read_tables(rna, {"counts": VALUE}, layer="log")
    assert isinstance(tables, Tables)
    (member,) = tables.members.values()
    assert isinstance(member, ValueMatrix)
    np.testing.assert_array_equal(member.values, rna.layers["log"].astype(np.float32))
    rna.X = sp.csr_matrix(np.where(np.eye(5, 3) > 0, np.nan, 1.0))
    (member,) = read(rna, rna=VALUE).members.values()
    assert isinstance(member, ValueMatrix)
    np.testing.assert_array_equal(member.values.isnan(), np.eye(5, 3) > 0)


@pytest.mark.parametrize(
    ("value", "support", "message"),
    [
        (-1.0, COUNT, r"a negative value, -1\.0, at row 1 \('c1'\), column 1 \('CD8'\)"),
        (0.5, COUNT, "a fractional value, 0.5, at row 1"),
        (np.nan, COUNT, "a value that is not finite, nan, at row 1"),
        (2.0, BINARY, r"'CD8'\)\. Its likelihood takes 0 and 1"),
        (1.5, SHARE, r"the value 1\.5 at row 1 \('c1'\), column 1 .*: its likelihood takes"),
        (-0.1, SHARE, "takes numbers from 0 to 1, and NaN"),
        (np.inf, VALUE, "has the value inf at row 1 .* takes finite numbers"),
    ],
)  # fmt: skip
def test_values_that_a_likelihood_does_not_take(
    multi: MultiData, value: float, support: Constraint, message: str
) -> None:
    multi["protein"].X = np.ones((4, 2), dtype=np.float32)
    read(multi, rna=COUNT, protein=support)
    multi["protein"].X[1, 1] = value
    with pytest.raises(DataError, match=message) as caught:
        read(multi, rna=COUNT, protein=support)
    assert str(caught.value).startswith("Modality 'protein' has")
    assert "layer=" not in str(caught.value)


@pytest.mark.parametrize("support", [COUNT, VALUE])
def test_modalities_without_anything(multi: MultiData, support: Constraint) -> None:
    multi.mod["protein"] = multi["protein"][:, []].copy()
    with pytest.raises(DataError, match=r"^Modality 'protein' is empty: .* 4 .* and 0 features"):
        read(multi, rna=COUNT, protein=support)
    nothing = AnnData(np.ones((0, 2)), var=pd.DataFrame(index=["a", "b"]))
    multi = MultiData({"rna": multi["rna"], "protein": nothing})
    with pytest.raises(DataError, match=r"^Modality 'protein' is empty: it has 0 observations"):
        read(multi, rna=COUNT, protein=support)
    absent = read_tables(multi, {"rna": COUNT, "protein": support}, lacking=True)
    assert len(absent.members["protein"]) == 0
    assert absent.members["protein"].n_features == 2


def test_observations_without_anything(multi: MultiData, with_arrays: AnnData) -> None:
    with (
        pytest.warns(UserWarning, match="left out: 'rna'"),
        pytest.raises(
            DataError, match=r"2 of 6 observations have no value in any modality, such as 'c2'"
        ),
    ):
        read(multi, protein=COUNT)
    with pytest.raises(DataError, match=r"1 of 5 observations have no value in .*'c1'"):
        read_tables(with_arrays, {"beta": SHARE}, modalities={"beta": "obsm/beta"})


def test_features_without_values(with_arrays: AnnData) -> None:
    with_arrays.obsm["beta"]["p1"] = np.nan
    with pytest.warns(UserWarning, match="'beta': 1 of 2 features have no values"):
        read(with_arrays, counts=COUNT, beta=VALUE)


def test_names_of_all_features(multi: MultiData) -> None:
    names = ["A", "B", "rna:CD4", "protein:CD4", "CD8"]
    assert features_of(multi) == names
    assert features_of(multi["rna"]) == ["A", "B", "CD4"]
    assert own_names(names[:3], "rna", multi["rna"].var_names) == ["A", "B", "CD4"]
    assert own_names(names[3:], "protein", ["protein:CD4", "CD8"]) == ["protein:CD4", "CD8"]
    # a name that one table has twice is not told apart
    assert feature_names({"a": ["x", "x"], "b": ["y"]}) == ["x", "x", "y"]
