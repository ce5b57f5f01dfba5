"""Which rows of a batch one of several processes works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes takes of every batch: all of it, if there is one process.

    Attributes:
        rank: The process, from 0.
        number: The number of processes.
    """

    rank: int = 0
    number: int = 1

    def part(self, size: int) -> Part:
        """This process's part of a batch of ``size`` rows."""
        return Part(size, self.rank, self.number)


@dataclass(frozen=True, slots=True)
class Part:
    """One of ``number`` parts, as even as can be, that the rows of a batch are cut into.

    Attributes:
        size: Rows of the whole batch.
        rank: Which part, from 0.
        number: The number of parts.
    """

    size: int
    rank: int = 0
    number: int = 1

    @property
    def start(self) -> int:
        """The first row of the part."""
        return self.size * self.rank // self.number

    @property
    def stop(self) -> int:
        """The first row behind the part."""
        return self.size * (self.rank + 1) // self.number

    @property
    def n_rows(self) -> int:
        """How many rows it has; none, where a batch has fewer rows than there are processes."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows to compute with: its own, or the batch's first, which then counts for nothing.

        A process that has no row of a batch still takes part in what all of them do at a step.
        """
        return slice(self.start, self.stop) if self.n_rows else slice(0, 1)
