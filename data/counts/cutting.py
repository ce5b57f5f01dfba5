"""Epochs of mini-batches: cut from memory, or read from disk a shuffle buffer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.data.counts.batch_parts import Part, Share
from vae4counts.data.counts.prefetch import has_spare_core, prefetch


class InMemory(Protocol):
    """Observations of which batches can be cut at once."""

    @property
    def device(self) -> torch.device:
        """Where batches are cut."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Batch:
        """Cut out the observations at some positions, int64 on any device."""


class OnDisk(Protocol):
    """Observations that are read in parts."""

    @property
    def device(self) -> torch.device:
        """Where batches are cut."""

    @property
    def buffer(self) -> int:
        """Observations that are read at once."""

    @property
    def blocks(self) -> np.ndarray:
        """Numbers of the blocks that stay together in a shuffled order, shape ``(N,)``."""

    def __len__(self) -> int: ...

    def read(self, index: Tensor) -> Any:
        """Read the observations at some positions (on the CPU) into memory: an `InMemory`."""


Positions = Mapping[str, Tensor | None]
"""For each table of a mosaic the row of each observation in it, -1 where it is absent."""


def batches_in_memory(
    counts: InMemory,
    batch_size: int,
    random: np.random.Generator | None,
    start: int,
    share: Share,
    positions: Positions = MappingProxyType({}),
) -> Iterator[Batch]:
    """Cut all observations into mini-batches, as `CountMatrix.batches` says.

    Args:
        counts: The observations.
        batch_size: Observations in a batch.
        random: What draws the order; None for that of the data.
        start: The batch to start with.
        share: What this process takes of every batch.
        positions: Those of tables that some observations lack.
    """
    order = np.arange(len(counts)) if random is None else random.permutation(len(counts))
    # moved once an epoch, not once a batch
    rest = torch.from_numpy(order[start * batch_size :]).to(counts.device)
    for index in rest.split(batch_size):
        part = share.part(len(index))
        yield _as_part(counts.batch(index[part.rows]), part, index, positions)


def batches_on_disk(
    counts: OnDisk,
    batch_size: int,
    random: np.random.Generator | None,
    start: int,
    share: Share,
    positions: Positions = MappingProxyType({}),
) -> Iterator[Batch]:
    """Cut all observations into mini-batches, reading a shuffle buffer at a time.

    An epoch goes through the blocks in random order. As many as fill a buffer are read at once,
    their rows are shuffled, and batches are cut from them (the idea of scDataset, D'Ascenzo and
    Cultrera di Montesano 2025, and of annbatch). If there is a spare core, the next buffer is read
    meanwhile. See `batches_in_memory` for the arguments.
    """
    size = max(1, counts.buffer // batch_size) * batch_size
    order = np.arange(len(counts))
    if random is not None:
        order = _shuffled(counts.blocks, size, random)
    buffers = (
        _read_parts(counts, index.split(batch_size), share)
        for index in torch.from_numpy(order[start * batch_size :]).split(size)
    )
    is_idle = counts.device.type != "cpu" or has_spare_core()
    for whole, indices, buffer in prefetch(buffers) if is_idle else buffers:
        places = torch.arange(len(buffer)).split([len(index) for index in indices])
        for every, index, place in zip(whole, indices, places, strict=True):
            own = replace(
                buffer.batch(place),
                index=index.to(counts.device),
                n_observations=len(counts),
            )
            yield _as_part(own, share.part(len(every)), every, positions)


def _as_part(own: Batch, part: Part, whole: Tensor, positions: Positions) -> Batch:
    """Say which rows of a whole batch, and of its tables, the rows of one process are."""
    tables = dict(own.tables)
    for name, rows in positions.items():
        if rows is not None and part.number > 1:
            present = rows[whole.to(rows.device)] >= 0
            tables[name] = replace(tables[name], part=part.among(present))
    return replace(own, tables=tables, part=part)


def _shuffled(blocks: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Put the blocks in random order, and shuffle each ``size`` rows of it."""
    _, block = np.unique(blocks, return_inverse=True)
    order = np.argsort(random.permutation(block.max(initial=-1) + 1)[block], kind="stable")
    for start in range(0, len(order), size):
        random.shuffle(order[start : start + size])  # in place
    return order


def _read_parts(
    counts: OnDisk, whole: Sequence[Tensor], share: Share
) -> tuple[Sequence[Tensor], Sequence[Tensor], Any]:
    """Read one process's parts of some batches: positions of both, and rows in a buffer."""
    indices = [index[share.part(len(index)).rows] for index in whole]
    return whole, indices, counts.read(torch.cat(indices))
