# ruff: noqa: PD011 (`values` are a field of a table, not of a pandas object)
"""Several tables of the same observations: batches equal what is cut by hand, in memory or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from vae4counts.data import (
    Batch,
    CountFile,
    CountLoader,
    CountMatrix,
    Share,
    Tables,
    UnknownName,
    ValueMatrix,
    counts_of,
    load,
)

N = 30
RANDOM = np.random.default_rng(0)
RNA = RANDOM.poisson(1.0, (N, 6)).astype(np.float32)
PROTEIN = RANDOM.poisson(5.0, (N - 10, 3)).astype(np.float32)
METHYLATION = RANDOM.random((N, 4), dtype=np.float32)
METHYLATION[3, 1] = np.nan
# observations 5 to 14 have no proteins, and the others in another order
ROWS = np.concatenate([np.arange(5), np.full(10, -1), np.arange(N - 15)[::-1] + 5])


def on_disk(values: np.ndarray, path: Path) -> CountFile:
    anndata.AnnData(
        sp.csr_matrix(values), pd.DataFrame(index=[str(i) for i in range(len(values))])
    ).write_h5ad(path)
    counts = counts_of(load(path, out_of_core=True))
    assert isinstance(counts, CountFile)
    return replace(counts, block=4, buffer=9)


@pytest.fixture(params=["memory", "disk"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    rna: CountMatrix | CountFile = CountMatrix.from_scipy(RNA)
    protein: CountMatrix | CountFile = CountMatrix.from_scipy(PROTEIN)
    if request.param == "disk":
        rna, protein = on_disk(RNA, tmp_path / "a.h5ad"), on_disk(PROTEIN, tmp_path / "b.h5ad")
    return Tables(
        {"rna": rna, "protein": protein, "methylation": ValueMatrix(torch.tensor(METHYLATION))},
        {"rna": None, "protein": torch.tensor(ROWS), "methylation": None},
        {"depth": torch.arange(N) / 2},
    )


def check_batch(batch: Batch, index: np.ndarray) -> None:
    rna, protein, methylation = batch.tables.values()
    np.testing.assert_array_equal(rna.values.to_dense(), RNA[index])
    np.testing.assert_array_equal(rna.library, RNA[index].sum(1))
    assert rna.rows is None
    np.testing.assert_array_equal(methylation.values, METHYLATION[index])
    assert methylation.library is None
    present = np.flatnonzero(ROWS[index] >= 0)
    wanted = PROTEIN[ROWS[index][present]]
    np.testing.assert_array_equal(protein.values.to_dense(), wanted)
    np.testing.assert_array_equal(protein.library, wanted.sum(1))
    if len(present) == len(index):
        assert protein.rows is None
    else:
        np.testing.assert_array_equal(protein.rows, present)
    np.testing.assert_array_equal(batch.covariates["depth"], index / 2)


@pytest.mark.parametrize(
    "index", [[2, 7, 1, 29, 7], [0, 1], [6, 7, 8], []], ids=["some", "all", "none", "empty"]
)
def test_batch(tables: Tables, index: list[int]) -> None:
    rows = np.array(index, dtype=np.int64)
    batch = tables.batch(torch.from_numpy(rows))
    check_batch(batch, rows)
    assert (batch.index.tolist(), batch.n_observations) == (index, N)
    assert tables.n_features == 13
    assert tables.device.type == "cpu"


@pytest.mark.parametrize("rows", [[28, 3, 9, 12, 16], [7, 8], [20, 20, 1]])
def test_subset_has_the_rows_of_its_observations_alone(tables: Tables, rows: list[int]) -> None:
    subset = tables.subset(rows).to("cpu")
    assert len(subset) == len(rows)
    assert len(subset.members["protein"]) == (ROWS[rows] >= 0).sum()
    batch = subset.batch(torch.arange(len(rows)))
    check_batch(batch, np.array(rows))
    assert batch.n_observations == len(rows)
    again = subset.subset(np.arange(len(rows))[::-1].copy())
    check_batch(again.batch(torch.arange(len(rows))), np.array(rows)[::-1])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_an_epoch_has_every_observation_once(
    tables: Tables, batch_size: int, shuffle: bool
) -> None:
    loader = CountLoader(tables, batch_size=batch_size, shuffle=shuffle, seed=1)
    batches = list(loader.epoch(2))
    assert len(batches) == len(loader)
    for batch in batches:
        check_batch(batch, batch.index.numpy())
        assert batch.n_observations == N
    order = torch.cat([batch.index for batch in batches]).tolist()
    assert sorted(order) == list(range(N))
    assert (order == sorted(order)) is not shuffle
    assert order == [i for batch in loader.epoch(2) for i in batch.index.tolist()]
    later = list(loader.epoch(2, start=1))
    assert [b.index.tolist() for b in later] == [b.index.tolist() for b in batches[1:]]


def test_processes_share_batches(tables: Tables) -> None:
    whole = list(CountLoader(tables, batch_size=8, seed=1).epoch(0))
    parts = [
        list(CountLoader(tables, batch_size=8, seed=1, share=Share(rank, 2)).epoch(0))
        for rank in (0, 1)
    ]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch.index, torch.cat([first.index, second.index]))
        check_batch(second, second.index.numpy())
        assert second.whole.rank == 1
        present = torch.from_numpy(ROWS[batch.index] >= 0)
        for own in (first, second):
            part = own.of_table("protein").whole
            assert part == own.whole.among(present)
            assert part.n_rows == len(own.tables["protein"].values)
            assert own.holds("protein") == batch.holds("protein")
            assert own.of_table("rna").whole == own.whole


def test_libraries_are_missing_where_a_table_is(tables: Tables) -> None:
    assert list(tables.libraries) == ["rna", "protein"]
    np.testing.assert_array_equal(tables.libraries["rna"], RNA.sum(1))
    wanted = np.where(ROWS >= 0, PROTEIN.sum(1)[ROWS], np.nan)
    np.testing.assert_array_equal(tables.libraries["protein"], wanted)
    np.testing.assert_array_equal(tables.present["protein"], ROWS >= 0)
    assert tables.present["rna"].all()


def test_only(tables: Tables) -> None:
    protein = tables.only(["protein"])
    assert (len(protein), protein.n_features, list(protein.members)) == (N, 3, ["protein"])
    np.testing.assert_array_equal(protein.library, tables.libraries["protein"])
    assert protein.batch(torch.tensor([6, 0])).tables["protein"].rows.tolist() == [1]
    assert list(tables.only(["methylation", "rna"]).members) == ["rna", "methylation"]
    with pytest.raises(UnknownName, match=r"no table 'rnaa'\. Did you mean 'rna'\?"):
        tables.only(["rnaa"])
    with pytest.raises(ValueError, match=r"not one table of counts: .* 'rna', 'protein'"):
        _ = tables.library


def test_parts_that_do_not_fit_together() -> None:
    rna, protein = CountMatrix.from_scipy(RNA), CountMatrix.from_scipy(PROTEIN)
    with pytest.raises(ValueError, match="'protein' is of 20 observations, not 30"):
        Tables({"rna": rna, "protein": protein}, {"rna": None, "protein": None})
    with pytest.raises(ValueError, match="'protein' are not rows"):
        Tables({"protein": protein}, {"protein": torch.tensor([0, 20])})
    with pytest.raises(ValueError, match="positions for each"):
        Tables({"protein": protein}, {})
    with pytest.raises(ValueError, match="there must be a table"):
        Tables({}, {})


def test_values_are_no_counts() -> None:
    values = ValueMatrix(torch.tensor(METHYLATION), {"depth": torch.arange(N) / 2})
    (batch, *_), n = values.batches(8), len(values)
    assert (n, values.n_features, batch.n_observations) == (N, 4, N)
    np.testing.assert_array_equal(batch.counts, METHYLATION[:8])
    np.testing.assert_array_equal(batch.covariates["depth"], np.arange(8) / 2)
    np.testing.assert_array_equal(values.subset([3, 1]).to("cpu").values, METHYLATION[[3, 1]])
    for source in (values, batch):
        with pytest.raises(ValueError, match="not"):
            _ = source.library
