"""One mini-batch of observations: the only thing that models, guides and data all name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vae4counts.data.counts.parts import Part


@dataclass(frozen=True, slots=True)
class Batch:
    """A mini-batch of ``B`` observations of ``G`` counts.

    Attributes:
        counts: Sparse CSR tensor of shape ``(B, G)``, floating point, in counts.
        library: Total count of each observation, shape ``(B,)``.
        index: Position of each observation in its data set, shape ``(B,)``, int64.
        n_observations: Size ``N`` of the data set that the batch is drawn from. Plates are
            given it, so that the ELBO of a batch estimates that of the whole data set.
        covariates: Further columns by name (for instance an experimental batch), each of
            shape ``(B,)`` or ``(B, D)``.
        part: Which rows of a larger batch these are, where several processes share it; None for
            a batch that is whole.
    """

    counts: Tensor
    library: Tensor
    index: Tensor
    n_observations: int
    covariates: Mapping[str, Tensor] = field(default_factory=dict)
    part: Part | None = None

    def __len__(self) -> int:
        return self.library.shape[0]

    @property
    def whole(self) -> Part:
        """Where its rows stand in the whole batch."""
        return self.part or Part(len(self))

    def to(self, device: torch.device | str) -> Batch:
        """Copies the batch to ``device`` (a batch that is there already is not copied)."""
        return replace(
            self,
            counts=self.counts.to(device),
            library=self.library.to(device),
            index=self.index.to(device),
            covariates={name: column.to(device) for name, column in self.covariates.items()},
        )


def first_rows(counts: Tensor, n: int) -> Tensor:
    """The first ``n`` rows of a CSR matrix, dense, without making the others so."""
    starts = counts.crow_indices()[: n + 1]
    size = int(starts[-1])
    return torch.sparse_csr_tensor(
        starts,
        counts.col_indices()[:size],
        counts.values()[:size],
        size=(n, counts.shape[1]),
        check_invariants=False,
    ).to_dense()
