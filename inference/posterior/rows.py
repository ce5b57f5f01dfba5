"""Results of observations, batch by batch, put together again."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.inference.parallel.processes import Processes


class Rows:
    """Tensors with a row an observation, of batches that one process has, or its part of each.

    Args:
        processes: Those that share the batches.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._size = 0
        self._index: list[Tensor] = []
        self._results: defaultdict[str, list[Tensor]] = defaultdict(list)

    def add(self, batch: Batch, **results: Tensor | None) -> None:
        """Keeps what is known of a batch's rows; None for what is not."""
        n_rows = batch.whole.n_rows
        self._size = batch.n_observations
        self._index.append(batch.index[:n_rows])
        for name, result in results.items():
            if result is not None:
                self._results[name].append(result[:n_rows])

    def all(self) -> dict[str, Tensor]:
        """What was kept, of the batches of all processes, in the order of one process.

        All processes have to ask, and all are answered.
        """
        own = {name: torch.cat(kept) for name, kept in self._results.items()}
        if self._processes.number == 1:
            return own
        index = torch.cat(self._index)
        return {name: self._processes.gather(index, rows, self._size) for name, rows in own.items()}
