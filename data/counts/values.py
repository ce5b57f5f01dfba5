"""A data set of values that are not counts, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS, Batch, Table, on_device, rows_of
from vae4counts.data.counts.batch_parts import Share
from vae4counts.data.counts.cutting import batches_in_memory


@dataclass(frozen=True, slots=True, eq=False)
class ValueMatrix:
    """``N`` observations of ``G`` values, with the interface of `CountMatrix`.

    Attributes:
        values: Shape ``(N, G)``, float32, dense; NaN where an entry is missing.
        covariates: Further columns by name, each of shape ``(N,)``.
    """

    values: Tensor
    covariates: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def members(self) -> Mapping[str, ValueMatrix]:
        """The tables by name: this one, ``"counts"`` by the name of its site."""
        return {COUNTS: self}

    @property
    def n_observations(self) -> int:
        """The number of observations ``N``."""
        return self.values.shape[0]

    def __len__(self) -> int:
        return self.n_observations

    @property
    def n_features(self) -> int:
        """The number of features ``G``."""
        return self.values.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the values, where batches are cut."""
        return self.values.device

    @property
    def libraries(self) -> Mapping[str, Tensor]:
        """Total counts by table: none, since these are not counts."""
        return {}

    @property
    def library(self) -> Tensor:
        """Total counts, which there are none of.

        Raises:
            ValueError: Always.
        """
        raise ValueError("the values are not counts: they have no totals")

    def to(self, device: torch.device | str) -> ValueMatrix:
        """Copy the values to ``device``; tensors that are on it already are not copied."""
        covariates = on_device(self.covariates, device)
        return ValueMatrix(self.values.to(device), covariates)

    def subset(self, rows: Tensor | np.ndarray | Sequence[int]) -> ValueMatrix:
        """Return a copy of some observations, see `CountMatrix.subset`."""
        index = torch.as_tensor(rows, dtype=torch.int64).to(self.device)
        return ValueMatrix(self.values.index_select(0, index), rows_of(self.covariates, index))

    def table(self, index: Tensor) -> Table:
        """Cut the rows at some positions out of the table."""
        return Table(self.values.index_select(0, index.to(self.device)))

    def batch(self, index: Tensor) -> Batch:
        """Cut out a mini-batch, see `CountMatrix.batch`."""
        index = index.to(self.device)
        return Batch(
            {COUNTS: self.table(index)}, index, self.n_observations, rows_of(self.covariates, index)
        )

    def batches(
        self,
        batch_size: int,
        random: np.random.Generator | None = None,
        start: int = 0,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> Iterator[Batch]:
        """Cut all observations into mini-batches, see `CountMatrix.batches`."""
        return batches_in_memory(self, batch_size, random, start, share)
