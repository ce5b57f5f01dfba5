"""Sparse and dense values, batch shapes, and the entries of a sparse matrix."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vae4counts.models.likelihoods import NonZeros


@pytest.mark.parametrize("lead", [(4,), (3, 4), (3, 1), (2, 3, 4), (1,), ()], ids=str)
def test_csr_equals_dense_equals_row_by_row(case: Any, counts: Tensor, lead: tuple) -> None:
    library = counts.sum(-1, keepdim=True)
    distribution = case.distribution(*lead, library=library)
    distribution = distribution.expand(torch.broadcast_shapes(lead, (4,)))
    found = distribution.log_prob(counts.to_sparse_csr())
    assert found.shape == distribution.batch_shape
    torch.testing.assert_close(found, distribution.log_prob(counts))
    # all axes in full, so that nothing is broadcast
    torch.testing.assert_close(found, distribution.log_prob(counts.expand(*found.shape, -1)))
    for i in range(4):  # one observation on its own, with its parameters
        alone = distribution.log_prob(counts[i])[..., i]
        torch.testing.assert_close(found[..., i], alone)


def test_one_row_of_counts_meets_many_rows_of_parameters(case: Any, counts: Tensor) -> None:
    row = counts[2:3]
    distribution = case.distribution(3, library=row.sum(-1, keepdim=True))
    expected = distribution.log_prob(row.expand(3, -1))
    torch.testing.assert_close(distribution.log_prob(row), expected)
    torch.testing.assert_close(distribution.log_prob(row[0]), expected)
    torch.testing.assert_close(distribution.log_prob(row.to_sparse_csr()), expected)


def test_sample_dimensions(case: Any, counts: Tensor) -> None:
    distribution = case.distribution(4, library=counts.sum(-1, keepdim=True))
    x = distribution.sample(torch.Size([3, 2]))
    assert x.shape == (3, 2, 4, 5)
    found = distribution.log_prob(x)
    assert found.shape == (3, 2, 4)
    assert found.isfinite().all()
    torch.testing.assert_close(found[1, 0], distribution.log_prob(x[1, 0].to_sparse_csr()))


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (1, 1), (0, 5)], ids=str)
def test_matrices_without_entries(case: Any, shape: tuple[int, int]) -> None:
    rows, features = shape
    likelihood = case.make(n_features=features)
    library = torch.zeros(rows, 1, dtype=torch.float64)
    outputs = case.outputs(rows, n_features=features).requires_grad_()
    x = torch.zeros(shape, dtype=torch.float64)
    distribution = likelihood(outputs, library)
    found = distribution.log_prob(x.to_sparse_csr())
    assert found.shape == (rows,)
    torch.testing.assert_close(found, distribution.log_prob(x))
    found.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_stored_zeros_change_nothing(case: Any, counts: Tensor) -> None:
    distribution = case.distribution(4, library=counts.sum(-1, keepdim=True))
    distribution.parameters = [p.clone().requires_grad_() for p in distribution.parameters]
    stored = torch.sparse_csr_tensor(
        torch.arange(0, 21, 5),
        torch.arange(5).repeat(4),
        counts.flatten(),
        counts.shape,
        check_invariants=True,
    )
    assert stored.values().numel() == 20
    found, expected = distribution.log_prob(stored), distribution.log_prob(counts)
    torch.testing.assert_close(found, expected)
    wanted = distribution.parameters[: 1 if case.given_total else None]
    by_stored = torch.autograd.grad(found.sum(), wanted)
    torch.testing.assert_close(by_stored, torch.autograd.grad(expected.sum(), wanted))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32, torch.float64])
def test_counts_of_any_type(case: Any, counts: Tensor, dtype: torch.dtype) -> None:
    if case.is_dense:
        pytest.skip("other types hold other numbers")
    distribution = case.distribution(4, library=counts.sum(-1, keepdim=True))
    expected = distribution.log_prob(counts)
    assert distribution.log_prob(counts.to(dtype)).equal(expected)
    assert distribution.log_prob(counts.to(dtype).to_sparse_csr()).equal(expected)


def test_indices_of_32_bits(counts: Tensor) -> None:
    csr = counts.to_sparse_csr()
    small = torch.sparse_csr_tensor(
        csr.crow_indices().int(),
        csr.col_indices().int(),
        csr.values(),
        csr.shape,
        check_invariants=True,
    )
    for found, expected in zip(_fields(NonZeros.of(small)), _fields(NonZeros.of(csr)), strict=True):
        assert found.equal(expected)


def _fields(nonzeros: NonZeros) -> list[Tensor]:
    return [nonzeros.values, nonzeros.rows, nonzeros.columns, nonzeros.flat, nonzeros.offsets]


def test_entries_are_those_of_the_matrix(counts: Tensor) -> None:
    for matrix in (counts, counts.to_sparse_csr()):
        nonzeros = NonZeros.of(matrix)
        assert nonzeros.values.equal(counts[counts > 0])
        assert counts[nonzeros.rows, nonzeros.columns].equal(nonzeros.values)
        torch.testing.assert_close(nonzeros.row_sum(nonzeros.values), counts.sum(-1))
        assert nonzeros.offsets.diff().equal((counts > 0).sum(-1))


@pytest.mark.parametrize("lead", [(), (3,), (2, 1)], ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (1, 1)], ids=str)
def test_scatter_add_is_the_transpose_of_gather(
    counts: Tensor, lead: tuple[int, ...], shape: tuple[int, int]
) -> None:
    nonzeros = NonZeros.of(counts)
    parameter = torch.randn(*lead, *shape, dtype=torch.float64)
    gathered = nonzeros.gather(parameter).expand(*lead, len(nonzeros.values))
    dense = parameter.expand(*lead, *counts.shape)
    assert gathered.equal(dense[..., nonzeros.rows, nonzeros.columns])
    entries = torch.randn(gathered.shape, dtype=torch.float64)
    start = torch.randn_like(parameter)
    scattered = nonzeros.scatter_add_(start.clone(), entries)
    # <gather(p), e> = <p, scatter(e)>
    inner = (parameter * (scattered - start)).sum()
    torch.testing.assert_close(inner, (gathered * entries).sum())


def test_row_sums_over_leading_axes(counts: Tensor) -> None:
    nonzeros = NonZeros.of(counts)
    entries = torch.randn(3, 2, len(nonzeros.values))
    expected = torch.zeros(3, 2, *counts.shape)
    expected[..., nonzeros.rows, nonzeros.columns] = entries
    torch.testing.assert_close(nonzeros.row_sum(entries), expected.sum(-1).double())
