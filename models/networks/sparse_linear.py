"""A linear layer for sparse input."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from vae4counts.models.numerics import first_order


class _SparseProduct(torch.autograd.Function):
    """``Y = X W`` for sparse ``X``, with the gradient ``X^T G`` by ``W`` and none by ``X``."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(counts)
        return _product(counts, weight)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        (counts,) = ctx.saved_tensors
        return None, _product(_transpose(counts), gradient.contiguous())


def _product(sparse: Tensor, dense: Tensor) -> Tensor:
    """Multiply a CSR matrix by a dense one.

    Each row of the product is a weighted sum of rows, which is a bag of embeddings: on a CPU it is
    three times faster than torch's sparse product.
    """
    return nn.functional.embedding_bag(
        sparse.col_indices(),
        dense,
        sparse.crow_indices(),
        mode="sum",
        per_sample_weights=sparse.values(),
        include_last_offset=True,
    )


def _transpose(counts: Tensor) -> Tensor:
    """Return the transpose of a CSR matrix, in CSR."""
    if counts.device.type != "cpu":
        return counts.t().to_sparse_csr()
    # torch sorts the entries, SciPy counts them, which is ten times faster; nothing is copied
    parts = (counts.values(), counts.col_indices(), counts.crow_indices())
    csc = csr_matrix(tuple(part.numpy() for part in parts), shape=counts.shape).tocsc()
    return torch.sparse_csr_tensor(
        torch.from_numpy(csc.indptr),
        torch.from_numpy(csc.indices),
        torch.from_numpy(csc.data),
        size=(counts.shape[1], counts.shape[0]),
        check_invariants=False,
    )


def sparse_product(inputs: Tensor, weight: Tensor) -> Tensor:
    """Multiply a CSR (or dense) matrix by a dense one, with the gradient by the dense one.

    It is never computed in half precision, which sparse products do not support and which cannot
    represent large counts.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        if inputs.layout == torch.strided:
            return inputs @ weight
        return _SparseProduct.apply(inputs, weight)


class SparseLinear(nn.Module):
    """A linear layer without bias whose input is a CSR (or dense) matrix.

    The weight has shape ``(n_inputs, n_outputs)``: the row of a feature is contiguous, and the
    product costs one row for every non-zero, see `sparse_product`.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_inputs)
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``inputs @ weight``, shape ``(B, n_outputs)``."""
        return sparse_product(inputs, self.weight)

    def extra_repr(self) -> str:
        """Return the layer's shape."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
