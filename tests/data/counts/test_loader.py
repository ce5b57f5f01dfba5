from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch

from vae4counts.data import CountLoader, CountMatrix, UnknownName


@pytest.fixture
def counts(dense: np.ndarray) -> CountMatrix:
    return CountMatrix.from_scipy(dense)


def order(loader: CountLoader, epoch: int) -> list[int]:
    return torch.cat([batch.index for batch in loader.epoch(epoch)]).tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_each_observation_once_an_epoch(
    counts: CountMatrix, dense: np.ndarray, batch_size: int
) -> None:
    loader = CountLoader(counts, batch_size=batch_size)
    batches = list(loader.epoch(3))
    assert len(batches) == len(loader) == -(-12 // batch_size)
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(12))
    rows = torch.cat([batch.counts.to_dense() for batch in batches])
    np.testing.assert_array_equal(rows.numpy(), dense[index.numpy()])


def test_epochs_are_functions_of_seed_and_number(counts: CountMatrix) -> None:
    loader = CountLoader(counts, batch_size=5, seed=1)
    first = order(loader, 7)
    order(loader, 2)
    assert order(loader, 7) == first
    assert order(CountLoader(counts, batch_size=3, seed=1), 7) == first
    orders = {tuple(order(CountLoader(counts, seed=s), e)) for s in range(4) for e in range(4)}
    assert len(orders) == 16


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_an_epoch_can_be_resumed_at_any_batch(counts: CountMatrix, start: int) -> None:
    loader = CountLoader(counts, batch_size=5, seed=1)
    rest = [batch.index.tolist() for batch in loader.epoch(7, start)]
    assert rest == [batch.index.tolist() for batch in loader.epoch(7)][start:]


def test_iteration_is_the_first_epoch(counts: CountMatrix) -> None:
    loader = CountLoader(counts, batch_size=5)
    assert torch.cat([batch.index for batch in loader]).tolist() == order(loader, 0)


def test_without_shuffling_all_epochs_are_in_order(counts: CountMatrix) -> None:
    loader = CountLoader(counts, batch_size=5, shuffle=False)
    assert order(loader, 0) == order(loader, 4) == list(range(12))


def test_global_random_state_is_neither_read_nor_changed(counts: CountMatrix) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = order(CountLoader(counts), 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert order(CountLoader(counts), 0) == first


def test_takes_an_anndata_and_a_layer(dense: np.ndarray) -> None:
    adata = anndata.AnnData(X=dense / 2, layers={"raw": dense})
    (batch,) = CountLoader(adata, layer="raw", shuffle=False)
    np.testing.assert_array_equal(batch.counts.to_dense().numpy(), dense)
    with pytest.raises(UnknownName, match="no layer 'row'"):
        CountLoader(adata, layer="row")


def test_arguments_are_checked(counts: CountMatrix) -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        CountLoader(counts, batch_size=0)
    with pytest.raises(ValueError, match="seed must be 0 or more, not -1"):
        CountLoader(counts, seed=-1)
    with pytest.raises(ValueError, match="a CountMatrix has its own"):
        CountLoader(counts, layer="raw")
