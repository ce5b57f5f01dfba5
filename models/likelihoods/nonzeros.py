"""Where the counts are: the non-zero entries of a batch and how to reach parameters there."""

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
        offsets: Where each row starts, shape ``(B + 1,)``.
        shape: ``(B, G)``.
    """

    values: Tensor
    rows: Tensor
    columns: Tensor
    offsets: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, counts: Tensor) -> NonZeros:
        """Reads a ``(B, G)`` tensor, sparse CSR or dense."""
        if counts.layout == torch.strided:
            rows, columns = counts.nonzero(as_tuple=True)
            values = counts[rows, columns]
            per_row = torch.bincount(rows, minlength=counts.shape[0])
            offsets = torch.nn.functional.pad(per_row.cumsum(0), (1, 0))
        else:
            values, columns = counts.values(), counts.col_indices().long()
            offsets = counts.crow_indices().long()
            rows = torch.arange(counts.shape[0], device=counts.device).repeat_interleave(
                offsets.diff(), output_size=values.shape[0]
            )
        return cls(values, rows, columns, offsets, (counts.shape[0], counts.shape[1]))

    def gather(self, parameter: Tensor) -> Tensor:
        """Takes a parameter of shape ``(*lead, B or 1, G or 1)`` at the entries.

        Returns:
            Shape ``(*lead, nnz)``, or ``(*lead, 1)`` for a parameter that all entries share.
        """
        flat = parameter.flatten(-2)
        index = self._index(parameter.shape)
        return flat if index is None else flat.index_select(-1, index)

    def scatter_add_(self, parameter: Tensor, entries: Tensor) -> Tensor:
        """Adds ``(*lead, nnz)`` to a contiguous parameter in place: the transpose of `gather`."""
        flat, index = parameter.view(*parameter.shape[:-2], -1), self._index(parameter.shape)
        entries = entries.sum_to_size(*flat.shape[:-1], entries.shape[-1])
        if index is None:
            flat += entries.sum(-1, keepdim=True)
        else:
            flat.index_add_(-1, index, entries)
        return parameter

    def row_sum(self, entries: Tensor) -> Tensor:
        """Sums ``(*lead, nnz)`` within each row, giving ``(*lead, B)``."""
        lead = entries.shape[:-1]
        return torch.segment_reduce(
            entries.contiguous(),
            "sum",
            offsets=self.offsets.expand(*lead, -1).contiguous(),
            axis=len(lead),
            initial=0,
        )

    def _index(self, shape: torch.Size) -> Tensor | None:
        """Flat positions of the entries in the last two axes of a parameter.

        Flat, because indexing with a pair of tensors puts a sort into the backward pass. None
        stands for a parameter of one value.
        """
        per_row, per_column = shape[-2] != 1, shape[-1] != 1
        if per_row and per_column:
            return self.rows * self.shape[1] + self.columns
        if per_row:
            return self.rows
        return self.columns if per_column else None
