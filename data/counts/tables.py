"""A data set of several tables of the same observations, of which some may lack some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch, Table, on_device, rows_of
from vae4counts.data.counts.batch_parts import Share
from vae4counts.data.counts.cutting import batches_in_memory, batches_on_disk
from vae4counts.data.counts.file import CountFile
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.values import ValueMatrix
from vae4counts.data.errors import UnknownName

Member: TypeAlias = CountMatrix | CountFile | ValueMatrix
"""A data set of one table."""


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """``N`` observations of several tables, with the interface of `CountMatrix`.

    If a member is on disk, an epoch goes through the blocks of the file with the most observations,
    see `batches_on_disk`; members in memory are cut as they are.

    Attributes:
        members: The tables by name, in the model's order. Their own covariates are not used.
        positions: For each table the row of each observation in its member, shape ``(N,)``,
            int64, -1 for an observation that lacks the table; None for a member whose rows are all
            observations, in order.
        covariates: Further columns by name, each of shape ``(N,)``.
    """

    members: Mapping[str, Member]
    positions: Mapping[str, Tensor | None]
    covariates: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: There is no table, or positions are of other tables, or too many, too few
                or out of range.
        """
        if not self.members or set(self.members) != set(self.positions):
            raise ValueError("there must be a table, and positions for each and for no other")
        for name, member in self.members.items():
            rows = self.positions[name]
            size = len(member) if rows is None else len(rows)
            if size != len(self):
                raise ValueError(f"table {name!r} is of {size} observations, not {len(self)}")
            if rows is not None and size and not -1 <= rows.min() <= rows.max() < len(member):
                raise ValueError(f"positions of table {name!r} are not rows of its member")

    @property
    def n_observations(self) -> int:
        """The number of observations ``N``, whatever tables they have."""
        name, member = next(iter(self.members.items()))
        rows = self.positions[name]
        return len(member) if rows is None else len(rows)

    def __len__(self) -> int:
        return self.n_observations

    @property
    def n_features(self) -> int:
        """The number of features of all tables."""
        return sum(member.n_features for member in self.members.values())

    @property
    def device(self) -> torch.device:
        """Where batches are cut."""
        return next(iter(self.members.values())).device

    @property
    def libraries(self) -> Mapping[str, Tensor]:
        """The total count of each observation in each table of counts, NaN where it lacks it.

        Shape ``(N,)`` each. Tables of other values are left out.
        """
        found = {}
        for name, member in self.members.items():
            rows = self.positions[name]
            for library in member.libraries.values():
                if rows is not None:
                    present = rows.to(library.device)
                    absent = library.new_tensor([torch.nan])  # which -1 picks
                    library = torch.cat([library, absent])[present]
                found[name] = library
        return found

    @property
    def library(self) -> Tensor:
        """The total counts of the only table, as `Batch.library` has them.

        Raises:
            ValueError: There are several tables, or the only one does not hold counts.
        """
        if len(self.members) != 1 or not self.libraries:
            listed = ", ".join(map(repr, self.libraries)) or "none"
            raise ValueError(f"not one table of counts: name one of libraries, which are {listed}")
        return next(iter(self.libraries.values()))

    @property
    def present(self) -> Mapping[str, Tensor]:
        """Which observations have each table, boolean, shape ``(N,)`` each."""
        every = torch.ones(len(self), dtype=torch.bool, device=self.device)
        return {
            name: every if (rows := self.positions[name]) is None else rows.to(self.device) >= 0
            for name in self.members
        }

    def to(self, device: torch.device | str) -> Tables:
        """Copy the tables to ``device``; those on disk stay there, their batches are cut on it."""
        return Tables(
            {name: member.to(device) for name, member in self.members.items()},
            {
                name: None if rows is None else rows.to(device)
                for name, rows in self.positions.items()
            },
            on_device(self.covariates, device),
        )

    def only(self, names: Iterable[str]) -> Tables:
        """Return the same observations with some of the tables alone.

        An observation that has none of these stays, without a table.

        Raises:
            UnknownName: There is no such table.
        """
        wanted = set(names)
        for name in wanted - set(self.members):
            raise UnknownName("table", name, self.members)
        return replace(
            self,
            members={name: table for name, table in self.members.items() if name in wanted},
            positions={name: rows for name, rows in self.positions.items() if name in wanted},
        )

    def subset(self, rows: Tensor | np.ndarray | Sequence[int]) -> Tables:
        """Return some observations, see `CountMatrix.subset`.

        Each member of the subset has the rows of these observations alone.
        """
        index = torch.as_tensor(rows, dtype=torch.int64).to(self.device)
        members, positions = {}, {}
        for name, member in self.members.items():
            chosen, positions[name] = _compact(self._rows(name, index))
            members[name] = member.subset(chosen)
        return Tables(members, positions, rows_of(self.covariates, index))

    def batch(self, index: Tensor) -> Batch:
        """Cut out a mini-batch, see `CountMatrix.batch`.

        Each table has the rows of the observations that have it, and says which these are; a table
        that none of them has is there, without a row.
        """
        index = index.to(self.device)
        tables = {}
        for name, member in self.members.items():
            rows = self._rows(name, index)
            chosen, positions = _compact(rows)
            table = member.table(chosen)
            if positions is not None:
                table = Table(table.values, table.library, (rows >= 0).nonzero().squeeze(1))
            tables[name] = table
        return Batch(tables, index, self.n_observations, rows_of(self.covariates, index))

    def batches(
        self,
        batch_size: int,
        random: np.random.Generator | None = None,
        start: int = 0,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> Iterator[Batch]:
        """Cut all observations into mini-batches, see `CountMatrix.batches`."""
        cut = batches_on_disk if self._files else batches_in_memory
        return cut(self, batch_size, random, start, share, self.positions)

    @property
    def buffer(self) -> int:
        """Observations that are read at once: as many as the largest of the files takes."""
        return min(file.buffer for file in self._files.values())

    @property
    def blocks(self) -> np.ndarray:
        """Numbers of the blocks that stay together in a shuffled order, shape ``(N,)``.

        They are of the file with the most observations. Observations that it lacks are in blocks
        as large, by their own order.
        """
        name, file = max(self._files.items(), key=lambda item: len(item[1]))
        rows = self._rows(name, torch.arange(len(self))).numpy()
        blocks = -1 - np.arange(len(self)) // file.block
        blocks[rows >= 0] = file.blocks[rows[rows >= 0]]
        return blocks

    def read(self, index: Tensor) -> Tables:
        """Read the observations at some positions into memory, for `batches_on_disk`."""
        members: dict[str, Member] = {}
        positions: dict[str, Tensor | None] = {}
        for name, member in self.members.items():
            rows = self._rows(name, index)
            if isinstance(member, CountFile):
                chosen, positions[name] = _compact(rows.cpu())
                members[name] = member.read(chosen)
            else:
                members[name], positions[name] = member, rows.to(self.device)
        return Tables(members, positions, rows_of(self.covariates, index)).to(self.device)

    @property
    def _files(self) -> dict[str, CountFile]:
        return {name: table for name, table in self.members.items() if isinstance(table, CountFile)}

    def _rows(self, name: str, index: Tensor) -> Tensor:
        """Return the rows of some observations in a member, -1 where they are absent."""
        rows = self.positions[name]
        return index if rows is None else rows.index_select(0, index.to(rows.device))


Counts: TypeAlias = CountMatrix | CountFile | ValueMatrix | Tables
"""Observations of one table or of several, in memory or on disk."""


def _compact(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Leave out the absent (-1): the other rows, and where each is now; None if all are there."""
    present = rows >= 0
    if present.all():
        return rows, None
    return rows[present], torch.where(present, present.cumsum(0) - 1, -1)
