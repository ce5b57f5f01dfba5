# ruff: noqa: PD011 (`values` are a field of Table, not of a pandas object)
from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from vae4counts.data import Batch, CountFile, CountLoader, CountMatrix, Part, Share, Table, load
from vae4counts.data.counts.batch import first_rows


@pytest.fixture
def batch() -> Batch:
    """Four observations: RNA counts of all of them, methylation of two."""
    rna = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [4.0, 0.0, 5.0]])
    methylation = torch.tensor([[0.5, torch.nan], [0.25, 1.0]])
    return Batch(
        tables={
            "rna": Table(rna.to_sparse_csr(), rna.sum(1)),
            "methylation": Table(methylation, rows=torch.tensor([0, 3])),
        },
        index=torch.tensor([7, 2, 9, 4]),
        n_observations=20,
        covariates={"site": torch.tensor([1, 0, 1, 1]), "map": torch.rand(4, 2)},
    )


def test_tables_are_named(batch: Batch) -> None:
    assert list(batch.tables) == ["rna", "methylation"]
    assert batch.tables["rna"].rows is None
    assert batch.tables["methylation"].library is None
    assert len(batch) == 4
    assert batch.whole == Part(4, 0, 4)


@pytest.mark.parametrize("shorthand", ["counts", "library"])
def test_shorthands_need_a_single_table(batch: Batch, shorthand: str) -> None:
    with pytest.raises(ValueError, match=r"2 tables \(rna, methylation\): name one"):
        getattr(batch, shorthand)


def test_shorthands_of_one_table(batch: Batch) -> None:
    rna = batch.tables["rna"]
    assert rna.library is not None
    single = Batch.of_counts(rna.values, rna.library, batch.index, 20)
    assert list(single.tables) == ["counts"]
    assert single.counts is rna.values
    assert single.library is rna.library
    assert single.covariates == {}


def test_a_table_without_counts_has_no_library(batch: Batch) -> None:
    dense = Batch({"methylation": batch.tables["methylation"]}, batch.index, 20)
    assert dense.counts is batch.tables["methylation"].values
    with pytest.raises(ValueError, match="'methylation' does not hold counts"):
        _ = dense.library


def test_to_moves_every_tensor() -> None:
    table = Table(torch.rand(2, 3), torch.rand(2), torch.tensor([0, 2]))
    part = Share(1, 2).part(6)
    batch = Batch({"a": table, "b": table}, torch.arange(3), 9, {"site": torch.arange(3)}, part)
    moved = batch.to("meta")
    tensors = [moved.index, moved.covariates["site"]]
    for found in moved.tables.values():
        assert found.library is not None
        assert found.rows is not None
        tensors += [found.values, found.library, found.rows]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.n_observations, moved.part) == (9, part)


def test_to_the_same_device_copies_nothing(batch: Batch) -> None:
    same = batch.to("cpu")
    for name, table in batch.tables.items():
        assert same.tables[name].values is table.values
        assert same.tables[name].rows is table.rows
    assert same.index is batch.index
    assert same.covariates["map"] is batch.covariates["map"]


@pytest.fixture(params=["memory", "disk"])
def counts(
    request: pytest.FixtureRequest, dense: np.ndarray, tmp_path: Path
) -> CountMatrix | CountFile:
    obs = pd.DataFrame({"site": list("aab" * 4), "depth": np.arange(12.0)})
    adata = anndata.AnnData(sp.csr_matrix(dense), obs.set_axis([str(row) for row in range(12)]))
    if request.param == "memory":
        return CountMatrix.from_anndata(adata, covariates=["site", "depth"])
    adata.write_h5ad(tmp_path / "a.h5ad")
    stored = load(tmp_path / "a.h5ad", out_of_core=True)
    return CountFile.from_anndata(stored, covariates=["site", "depth"])


def test_data_give_one_table_with_covariates(
    counts: CountMatrix | CountFile, dense: np.ndarray
) -> None:
    for batch in CountLoader(counts, batch_size=5, seed=1):
        assert list(batch.tables) == ["counts"]
        table = batch.tables["counts"]
        assert table.rows is None
        rows = batch.index.numpy()
        np.testing.assert_array_equal(table.values.to_dense(), dense[rows])
        np.testing.assert_array_equal(table.library, dense[rows].sum(1))
        assert batch.covariates["site"].tolist() == [int(row % 3 == 2) for row in rows]
        assert batch.covariates["depth"].tolist() == rows.tolist()


def test_processes_share_each_batch(counts: CountMatrix | CountFile) -> None:
    whole = list(CountLoader(counts, batch_size=5, seed=1))
    shared = [CountLoader(counts, batch_size=5, seed=1, share=Share(rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *shared, strict=True):
        assert batch.part == Share().part(len(batch))
        expected = [Share(rank, 3).part(len(batch)) for rank in range(3)]
        assert [part.whole for part in parts] == expected
        rows = [part for part in parts if part.whole.n_rows]
        assert torch.equal(torch.cat([part.index for part in rows]), batch.index)
        assert torch.equal(torch.cat([part.library for part in rows]), batch.library)
        joined = {name: [part.covariates[name] for part in rows] for name in batch.covariates}
        assert all(torch.equal(torch.cat(joined[name]), batch.covariates[name]) for name in joined)


def test_a_process_without_rows_computes_with_the_first(counts: CountMatrix | CountFile) -> None:
    whole = list(CountLoader(counts, batch_size=11, shuffle=False))
    *_, last = CountLoader(counts, batch_size=11, shuffle=False, share=Share(0, 2))
    assert len(whole[-1]) == 1
    assert last.whole.n_rows == 0
    assert torch.equal(last.index, whole[-1].index)


@pytest.mark.parametrize("n", [0, 2, 4])
def test_first_rows(batch: Batch, n: int) -> None:
    rna = batch.tables["rna"].values.to_dense()
    assert torch.equal(first_rows(batch.only(["rna"]), n), rna[:n])
    # rows that a table lacks, and entries that are missing, are 0
    methylation = torch.tensor([[0.5, 0.0], [0.0, 0.0], [0.0, 0.0], [0.25, 1.0]])
    assert torch.equal(first_rows(batch, n), torch.cat([rna, methylation], 1)[:n])


def test_of_table_holds_the_observations_that_have_it(batch: Batch) -> None:
    own = batch.of_table("methylation")
    assert own.index.tolist() == [7, 4]
    assert own.covariates["site"].tolist() == [1, 1]
    assert own.counts is batch.tables["methylation"].values
    assert own.tables["methylation"].rows is None
    rna = batch.of_table("rna")
    assert list(rna.tables) == ["rna"]
    assert rna.of_table("rna") is rna
