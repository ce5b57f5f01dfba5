"""Counts on disk: the same rows, each once an epoch, with no more in memory than a buffer."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae4counts.data import CountFile, CountLoader, CountMatrix, DataError, counts_of, load

N, G = 60, 9


def made(seed: int = 0) -> anndata.AnnData:
    random = np.random.default_rng(seed)
    dense = random.poisson(0.5, size=(N, G))
    dense[:, 0] += 1
    dense[np.arange(G), np.arange(G)] += 1
    return anndata.AnnData(
        X=sp.csr_matrix(dense.astype(np.float32)),
        obs=pd.DataFrame(
            {"site": random.choice(["a", "b", "c"], N), "depth": np.arange(N) / 2},
            index=[f"cell{i}" for i in range(N)],
        ),
        var=pd.DataFrame(index=[f"gene{j}" for j in range(G)]),
        layers={"raw": sp.csr_matrix(2 * dense)},
    )


@pytest.fixture(params=["counts.h5ad", "counts.zarr"], scope="module")
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / request.param
    return write(made(), path)


def write(adata: anndata.AnnData, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format of zarr that is written by default
        (adata.write_h5ad if path.suffix == ".h5ad" else adata.write_zarr)(path)
    return path


def rows_of(loader: CountLoader, epoch: int) -> tuple[list[int], np.ndarray]:
    batches = list(loader.epoch(epoch))
    index = torch.cat([batch.index for batch in batches])
    return index.tolist(), torch.cat([batch.counts.to_dense() for batch in batches]).numpy()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*no counts at all:UserWarning")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_an_epoch_is_a_permutation_with_the_right_counts(path: Path, data: st.DataObject) -> None:
    sizes = st.integers(1, 70)
    wanted = data.draw(st.lists(st.integers(0, N - 1), min_size=1, unique=True), label="rows")
    columns = data.draw(st.none() | st.lists(st.integers(0, G - 1), min_size=1, unique=True))
    whole = load(path, out_of_core=True)
    counts = counts_of(whole[:, columns or range(G)]).subset(wanted)
    assert isinstance(counts, CountFile)
    counts = replace(counts, block=data.draw(sizes), buffer=data.draw(sizes))
    shuffle = data.draw(st.booleans())
    batch_size = data.draw(sizes, label="batch size")
    loader = CountLoader(counts, batch_size=batch_size, seed=3, shuffle=shuffle)
    index, dense = rows_of(loader, 5)
    assert sorted(index) == list(range(len(wanted)))
    assert shuffle or index == sorted(index)
    here = made().X.toarray()[wanted][:, columns or slice(None)]
    np.testing.assert_array_equal(dense, here[index])
    batches = list(loader.epoch(5))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(loader) - 1)
    assert len(batches) == len(loader)
    for batch in batches:
        np.testing.assert_array_equal(batch.library, batch.counts.to_dense().sum(1))
        assert batch.n_observations == len(wanted)


def test_epochs_are_functions_of_seed_and_number(path: Path) -> None:
    counts = replace(counts_of(load(path, out_of_core=True)), block=4, buffer=16)
    orders = {
        tuple(rows_of(CountLoader(counts, seed=seed), epoch)[0])
        for seed in (0, 1, 0)
        for epoch in (0, 1)
    }
    assert len(orders) == 4
    assert tuple(range(N)) not in orders


def test_blocks_move_and_their_rows_are_shuffled(path: Path) -> None:
    counts = replace(counts_of(load(path, out_of_core=True)), block=5, buffer=20)
    index, _ = rows_of(CountLoader(counts, batch_size=10), 0)
    buffers = np.array(index).reshape(3, 20)
    for rows in buffers:  # four whole blocks each, in no order
        assert len(set(rows // 5)) == 4
        assert (np.diff(rows) < 0).any()
    assert len({tuple(sorted(set(rows // 5))) for rows in buffers}) == 3


def test_it_agrees_with_counts_in_memory(path: Path) -> None:
    here = CountMatrix.from_anndata(made(), "raw", ["site", "depth"])
    there = counts_of(load(path, out_of_core=True), "raw", ["site", "depth"])
    assert isinstance(there, CountFile)
    assert (len(there), there.n_observations, there.n_features) == (N, N, G)
    assert torch.equal(there.library, here.library)
    rows = [7, 3, 50]
    batches = [next(iter(CountLoader(c.subset(rows), shuffle=False))) for c in (here, there)]
    for name in ("site", "depth"):
        assert torch.equal(*(batch.covariates[name] for batch in batches))
    assert torch.equal(*(batch.counts.to_dense() for batch in batches))


def test_a_batch_of_any_rows_agrees_with_memory(path: Path) -> None:
    index = torch.tensor([7, 3, 50, 3])
    here, there = (
        counts.batch(index)
        for counts in (
            CountMatrix.from_anndata(made(), "raw"),
            counts_of(load(path, out_of_core=True), "raw"),
        )
    )
    assert torch.equal(here.counts.to_dense(), there.counts.to_dense())
    assert torch.equal(here.library, there.library)
    assert torch.equal(here.index, there.index)
    assert here.n_observations == there.n_observations


@pytest.mark.parametrize(
    "view",
    [
        lambda adata: adata[10:40:3],
        lambda adata: adata[[5, 5, 2, 59]],
        lambda adata: adata[:, ["gene3", "gene0"]],
        lambda adata: adata[adata.obs["site"] == "a"][:, 2:],
    ],
)
@pytest.mark.filterwarnings("ignore:.*no counts at all:UserWarning")
@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
def test_views(path: Path, view: Callable[[anndata.AnnData], anndata.AnnData]) -> None:
    counts = counts_of(view(load(path, out_of_core=True)))
    assert isinstance(counts, CountFile)
    _, dense = rows_of(CountLoader(counts, shuffle=False), 0)
    np.testing.assert_array_equal(dense, view(made()).X.toarray())
    np.testing.assert_array_equal(counts.library, dense.sum(1))


def test_backed_anndata(tmp_path: Path) -> None:
    path = write(made(), tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(path, backed="r")
    for counts in (counts_of(backed), counts_of(backed[:])):
        assert isinstance(counts, CountFile)
        np.testing.assert_array_equal(
            rows_of(CountLoader(counts, shuffle=False), 0)[1], made().X.toarray()
        )
    assert isinstance(CountMatrix.from_anndata(backed), CountMatrix)
    backed.file.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_storage_types(tmp_path: Path, dtype: type) -> None:
    adata = made()
    adata.X = adata.X.astype(dtype)
    counts = counts_of(load(write(adata, tmp_path / "a.h5ad"), out_of_core=True))
    (batch,) = CountLoader(counts, shuffle=False)
    assert batch.counts.dtype == torch.float32
    np.testing.assert_array_equal(batch.counts.to_dense(), made().X.toarray())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"^X has a negative value, -1\.0, at row 41 \('cell41'\), column 3 \('gene3'\)"),
        (0.5, r"fractional value, 0\.5, at row 41 \('cell41'\), .* layers here: 'raw'"),
        (np.nan, r"not finite, nan, at row 41 \('cell41'\)"),
    ],
)
def test_values_that_are_not_counts_are_located(tmp_path: Path, value: float, message: str) -> None:
    adata = made()
    dense = adata.X.toarray()
    dense[41, 3] = value
    adata.X = sp.csr_matrix(dense)
    with pytest.raises(DataError, match=message):
        counts_of(load(write(adata, tmp_path / "a.h5ad"), out_of_core=True))


@pytest.mark.parametrize("form", [sp.csc_matrix, np.asarray])
def test_only_csr_is_read_from_disk(tmp_path: Path, form: type) -> None:
    adata = made()
    adata.X = form(adata.X.toarray())
    for name in ("a.h5ad", "a.zarr"):
        with pytest.raises(DataError, match=r"X is stored (by column|dense).*load it into memory"):
            counts_of(load(write(adata, tmp_path / name), out_of_core=True))


@pytest.mark.parametrize(
    ("part", "place", "value", "message"),
    [
        ("indices", 9, 99, r"^X is broken: .* the column index 99, but there are 9 columns"),
        ("indices", 9, -1, r"the column index -1"),
        ("indptr", 3, 10_000, "its indptr does not go"),
        ("indptr", N, 1, "its indptr does not go"),
    ],
)
def test_broken_arrays_are_found(
    tmp_path: Path, part: str, place: int, value: int, message: str
) -> None:
    path = write(made(), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["X"][part][place] = value
    with pytest.raises(DataError, match=message):
        counts_of(load(path, out_of_core=True))


def test_a_chunk_that_cannot_be_read_is_an_error_that_names_the_store(tmp_path: Path) -> None:
    path = write(made(), tmp_path / "a.zarr")
    counts = counts_of(load(path, out_of_core=True))
    (chunk,) = [p for p in (path / "X" / "data").rglob("*") if p.is_file() and "z" not in p.name]
    chunk.write_bytes(b"\x00broken")
    with pytest.raises(DataError, match=r"Cannot read .*a\.zarr.* as counts on disk"):
        list(CountLoader(counts))


@pytest.mark.slow
def test_memory_is_bounded_by_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae4counts.data.counts.file.BUFFER", 2**15)
    peaks = []
    for n in (10_000, 40_000):
        counts = sp.csr_matrix(np.random.default_rng(0).poisson(0.25, (n, 200)))
        path = write(anndata.AnnData(counts), tmp_path / f"{n}.h5ad")
        adata = load(path, out_of_core=True)
        tracemalloc.start()
        for batch in CountLoader(adata):
            assert batch.n_observations == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        # beside the buffers there are some numbers a row, and no counts
        assert peaks[-1] < 40 * 2**15 + 100 * n < 8 * counts.nnz
    assert peaks[1] - peaks[0] < 100 * 30_000
