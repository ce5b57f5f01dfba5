"""A mini-batch of observations: what models, guides and data have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vae4counts.data.counts.batch_parts import Part

COUNTS = "counts"
"""The name of the table of an AnnData, and of the sample site that observes it."""

# torch warns once a process that sparse CSR tensors are in beta and that their invariants are not
# checked, which is no news to users of this package: trigger both warnings here, unseen.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.zeros(1, 1).to_sparse_csr()


@dataclass(frozen=True, slots=True)
class Table:
    """What a batch of ``B`` observations holds of one modality with ``G`` features.

    Attributes:
        values: Counts as a floating-point CSR tensor, or other values as a dense tensor with NaN
            where an entry is missing; shape ``(B, G)``.
        library: Total count of each observation, shape ``(B,)``; None for values that are not
            counts.
        rows: Positions in the batch of the observations that have this modality, int64; ``values``
            and ``library`` then have a row for each of these alone. None if all of them have it.
        part: Which rows these are of those that have this modality in a larger batch, where several
            processes share it and some of its observations may lack the modality; else None.
    """

    values: Tensor
    library: Tensor | None = None
    rows: Tensor | None = None
    part: Part | None = None

    def present(self, n: int) -> Tensor:
        """Return which of the ``n`` observations of the batch have the modality, boolean."""
        if self.rows is None:
            return torch.ones(n, dtype=torch.bool, device=self.values.device)
        found = torch.zeros(n, dtype=torch.bool, device=self.rows.device)
        return found.index_fill(0, self.rows, value=True)

    def to(self, device: torch.device | str) -> Table:
        """Copy the table to ``device``; tensors that are on it already are not copied."""
        return replace(
            self,
            values=self.values.to(device),
            library=None if self.library is None else self.library.to(device),
            rows=None if self.rows is None else self.rows.to(device),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """A mini-batch of ``B`` observations.

    Attributes:
        tables: The observed values by modality. The name of a table is the name of the sample
            site that observes it: ``"counts"`` for the only table of an AnnData.
        index: Position of each observation in its data set, shape ``(B,)``, int64.
        n_observations: Size ``N`` of the data set that the batch is drawn from. Plates are
            given it, so that the ELBO of a batch estimates that of the whole data set.
        covariates: Further columns by name (for instance an experimental batch), each of
            shape ``(B,)`` or ``(B, D)``.
        part: Which rows of a larger batch these are, where several processes share it; None for
            a whole batch.
    """

    tables: Mapping[str, Table]
    index: Tensor
    n_observations: int
    covariates: Mapping[str, Tensor] = field(default_factory=dict)
    part: Part | None = None

    @classmethod
    def of_counts(
        cls,
        counts: Tensor,
        library: Tensor,
        index: Tensor,
        n_observations: int,
        covariates: Mapping[str, Tensor] | None = None,
    ) -> Batch:
        """Make a batch of one table of counts.

        Args:
            counts: CSR, floating point, shape ``(B, G)``.
            library: Total counts, shape ``(B,)``.
            index: See `Batch`.
            n_observations: See `Batch`.
            covariates: See `Batch`.
        """
        return cls({COUNTS: Table(counts, library)}, index, n_observations, covariates or {})

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def counts(self) -> Tensor:
        """The values of the only table.

        Raises:
            ValueError: There are several tables.
        """
        return self._only.values

    @property
    def library(self) -> Tensor:
        """The total counts of the only table.

        Raises:
            ValueError: There are several tables, or the only one does not hold counts.
        """
        if self._only.library is None:
            raise ValueError(f"the table {next(iter(self.tables))!r} does not hold counts")
        return self._only.library

    def only(self, names: Iterable[str]) -> Batch:
        """Return the same observations with some of their tables alone."""
        return replace(self, tables={name: self.tables[name] for name in names})

    def holds(self, name: str) -> bool:
        """Return whether any observation of the whole batch has a modality.

        Args:
            name: The table's name.
        """
        table = self.tables.get(name)
        if table is None:
            return False
        return (table.part.size if table.part else len(table.values)) > 0

    def of_table(self, name: str) -> Batch:
        """Return the observations that have a modality, with its table alone.

        Args:
            name: The table's name.
        """
        table = self.tables[name]
        if table.rows is None and table.part is None:
            return self if len(self.tables) == 1 else self.only([name])
        own = Batch(
            {name: replace(table, rows=None, part=None)},
            self.index,
            self.n_observations,
            self.covariates,
            table.part,
        )
        if table.rows is None:
            return own
        columns = rows_of(self.covariates, table.rows)
        return replace(own, index=self.index[table.rows], covariates=columns)

    @property
    def whole(self) -> Part:
        """Which rows of the whole batch these are."""
        return self.part or Part(len(self), 0, len(self))

    def to(self, device: torch.device | str) -> Batch:
        """Copy the batch to ``device``; tensors that are on it already are not copied."""
        return replace(
            self,
            tables={name: table.to(device) for name, table in self.tables.items()},
            index=self.index.to(device),
            covariates=on_device(self.covariates, device),
        )

    @property
    def _only(self) -> Table:
        if len(self.tables) != 1:
            raise ValueError(
                f"the batch has {len(self.tables)} tables ({', '.join(self.tables)}): "
                "name one, batch.tables[...]"
            )
        return next(iter(self.tables.values()))


def first_rows(batch: Batch, n: int) -> Tensor:
    """Return the first ``n`` rows of all tables side by side, dense; the others stay sparse.

    Of a table that an observation does not have, the row is 0.

    Returns:
        Shape ``(n, G)``.
    """
    return torch.cat([_first_rows(table, n) for table in batch.tables.values()], -1)


def _first_rows(table: Table, n: int) -> Tensor:
    rows = torch.arange(n) if table.rows is None else table.rows[table.rows < n]
    values = table.values
    if values.layout == torch.strided:
        dense = values[: len(rows)].nan_to_num(0.0)
    else:
        starts = values.crow_indices()[: len(rows) + 1]
        size = int(starts[-1])
        dense = torch.sparse_csr_tensor(
            starts,
            values.col_indices()[:size],
            values.values()[:size],
            size=(len(rows), values.shape[1]),
            check_invariants=False,
        ).to_dense()
    if table.rows is None:
        return dense
    return spread(dense, rows, n)


def spread(values: Tensor, rows: Tensor, n: int, axis: int = 0, fill: float = 0.0) -> Tensor:
    """Return values of some rows among those of all.

    Args:
        values: Those of ``R`` rows, along an axis.
        rows: Their positions, int64, shape ``(R,)``.
        n: The number of all rows.
        axis: The axis of the rows.
        fill: What the others have.
    """
    shape = list(values.shape)
    shape[axis] = n
    return values.new_full(shape, fill).index_copy(axis, rows, values)


def rows_of(columns: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """Return some rows of columns ``(N,)``, by their positions on any device."""
    return {name: x.index_select(0, index.to(x.device)) for name, x in columns.items()}


def on_device(columns: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """Copy columns to ``device``; those that are on it already are not copied."""
    return {name: column.to(device) for name, column in columns.items()}
