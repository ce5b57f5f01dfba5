"""The non-zero entries of a matrix of counts, and parameters at these entries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class NonZeros:
    """The non-zero entries of a ``(B, G)`` matrix of counts, row by row.

    Attributes:
        values: The counts, shape ``(nnz,)``.
        rows: Their rows, shape ``(nnz,)``, ascending.
        columns: Their columns, shape ``(nnz,)``.
        flat: Their positions ``row * G + column``, shape ``(nnz,)``: the backward pass of an
            index by rows and columns would have to sort.
        offsets: Where each row starts, shape ``(B + 1,)``.
        shape: ``(B, G)``.
    """

    values: Tensor
    rows: Tensor
    columns: Tensor
    flat: Tensor
    offsets: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, counts: Tensor) -> NonZeros:
        """Read a ``(B, G)`` tensor, sparse CSR or dense."""
        n_rows, n_columns = counts.shape
        entries = counts.to_sparse_coo()
        rows, columns = entries.indices()
        offsets = torch.searchsorted(rows, torch.arange(n_rows + 1, device=rows.device))
        flat = torch.add(columns, rows, alpha=n_columns)
        return cls(entries.values(), rows, columns, flat, offsets, (n_rows, n_columns))

    def gather(self, parameter: Tensor) -> Tensor:
        """Return a parameter of shape ``(*lead, B or 1, G or 1)`` at the entries.

        Returns:
            Shape ``(*lead, nnz)``, or ``(*lead, 1)`` for a parameter that all entries share.
        """
        flat = parameter.flatten(-2)
        index = self._index(parameter.shape)
        return flat if index is None else flat.index_select(-1, index)

    def scatter_add_(self, parameter: Tensor, entries: Tensor) -> Tensor:
        """Add ``(*lead, nnz)`` to a contiguous parameter in place: the transpose of `gather`."""
        flat, index = parameter.view(*parameter.shape[:-2], -1), self._index(parameter.shape)
        entries = entries.sum_to_size(*flat.shape[:-1], entries.shape[-1])
        if index is None:
            flat += entries.sum(-1, keepdim=True)
        else:
            flat.scatter_add_(-1, index.expand_as(entries), entries)
        return parameter

    def row_sum(self, entries: Tensor) -> Tensor:
        """Sum ``(*lead, nnz)`` within each row, giving ``(*lead, B)``.

        In float64, because the entries of a segment are added one after the other.
        """
        lead = entries.shape[:-1]
        return torch.segment_reduce(
            entries.double(),
            "sum",
            offsets=self.offsets.expand(*lead, -1).contiguous(),
            axis=len(lead),
            initial=0,
        )

    def _index(self, shape: torch.Size) -> Tensor | None:
        """Return the entries' positions in a parameter's last two axes; None if it is a scalar."""
        per_row, per_column = shape[-2] != 1, shape[-1] != 1
        if per_row and per_column:
            return self.flat
        if per_row:
            return self.rows
        return self.columns if per_column else None
