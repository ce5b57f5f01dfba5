"""Results that have a row for each observation, collected batch by batch."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.inference.parallel.processes import Processes


class RowResults:
    """Tensors with a row for each observation, of all batches or of one process's part of each.

    Args:
        processes: The processes that share the batches.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._size = 0
        self._index: list[Tensor] = []
        self._results: defaultdict[str, list[Tensor]] = defaultdict(list)

    def add(self, batch: Batch, **results: Tensor | None) -> None:
        """Keep results of a batch, each of shape ``(B, ...)``; None for what there is not."""
        n_rows = batch.whole.n_rows
        self._size = batch.n_observations
        self._index.append(batch.index[:n_rows])
        for name, result in results.items():
            if result is not None:
                self._results[name].append(result[:n_rows])

    def all(self) -> dict[str, Tensor]:
        """Return what all processes kept, in the order that one process would have.

        All processes have to call this, and each gets the whole.
        """
        own = {name: torch.cat(kept) for name, kept in self._results.items()}
        if self._processes.number == 1:
            return own
        index = torch.cat(self._index)
        return {name: self._processes.gather(index, rows, self._size) for name, rows in own.items()}
