"""Which rows of a batch one of several processes works on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes takes of every batch: all of it if there is one process.

    Parts are as even as possible.

    Attributes:
        rank: The process, from 0.
        number: The number of processes.
    """

    rank: int = 0
    number: int = 1

    def part(self, size: int) -> Part:
        """Return this process's part of a batch of ``size`` rows."""
        start, stop = (size * rank // self.number for rank in (self.rank, self.rank + 1))
        return Part(size, start, stop, self.rank, self.number)


@dataclass(frozen=True, slots=True)
class Part:
    """One of ``number`` parts that the rows of a batch are cut into.

    Attributes:
        size: Rows of the whole batch.
        start: The first row of the part.
        stop: The first row after the part.
        rank: Which part, from 0.
        number: The number of parts.
    """

    size: int
    start: int
    stop: int
    rank: int = 0
    number: int = 1

    @property
    def n_rows(self) -> int:
        """The number of rows: 0 where a batch has fewer rows than there are processes."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows to compute with: the part's own, or the batch's first row if it has none.

        A process without a row of its own still takes part in each step that all of them do
        together; the first row then does not count.
        """
        return slice(self.start, self.stop) if self.n_rows else slice(0, 1)

    def among(self, present: Tensor) -> Part:
        """Return the same part of some of the rows, as of those that have a table.

        Args:
            present: Which rows of the whole batch, boolean, shape ``(size,)``.
        """
        start, stop = (int(present[:row].sum()) for row in (self.start, self.stop))
        return replace(self, size=int(present.sum()), start=start, stop=stop)
