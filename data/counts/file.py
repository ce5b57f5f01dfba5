"""A data set of sparse counts that stays on disk, read a shuffle buffer at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.data.counts.columns import column_tensor, find_column
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.parts import Part, Share
from vae4counts.data.counts.stored import BLOCK, StoredMatrix, find_stored, is_on_disk
from vae4counts.data.counts.validation import check_counts
from vae4counts.data.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

Item = TypeVar("Item")
CPU = torch.device("cpu")

# Stored values that a buffer holds: 64 MB as a `CountMatrix`. Two stand in memory at a time, and
# the arrays that a third is made from.
BUFFER = 2**23
# Relative error of sums of totals that are kept in float32.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class CountFile:
    """``N`` observations of ``G`` counts in a file: what `CountMatrix` is, but for the memory.

    An epoch goes through the file in blocks of rows that lie together, in random order. As many
    blocks as fill a buffer are read at once, their rows shuffled, and batches cut from them (the
    idea of scDataset, D'Ascenzo and Cultrera di Montesano 2025, and of annbatch). Where a core is
    to spare, the next buffer is read meanwhile.

    Attributes:
        stored: The matrix on disk.
        rows: Position of each observation in it, shape ``(N,)``, int64.
        library: Total count of each observation, shape ``(N,)``, float32, in memory.
        covariates: Further columns by name, each of shape ``(N,)``.
        device: Where batches are cut.
        block: Rows of the file that stay together in a shuffled order.
        buffer: Observations a buffer.
    """

    stored: StoredMatrix
    rows: np.ndarray
    library: Tensor
    covariates: Mapping[str, Tensor] = field(default_factory=dict)
    device: torch.device = CPU
    block: int = BLOCK
    buffer: int = 2**14

    @classmethod
    def from_anndata(
        cls, adata: AnnData, layer: str | None = None, covariates: Iterable[str] = ()
    ) -> CountFile:
        """Goes through the counts once, to check them and to add up their rows.

        Args:
            adata: Observations x features, or a view of them, with the counts on disk in CSR.
            layer: See `CountMatrix.from_anndata`.
            covariates: See `CountMatrix.from_anndata`.

        Raises and warns as `CountMatrix.from_anndata` does, and:

        Raises:
            DataError: If the counts are not on disk, are not CSR there, or cannot be read.
        """
        stored, rows = find_stored(adata, layer)
        columns = {name: column_tensor(find_column(adata.obs, name)) for name in covariates}
        mean = stored.n_entries(rows) / max(len(rows), 1)
        buffer = max(1, int(BUFFER / max(mean, 1.0)))
        totals = check_counts(
            (stored.read(rows[start : start + buffer]) for start in range(0, len(rows), buffer)),
            (len(rows), stored.n_features),
            name=stored.name,
            rows=adata.obs_names,
            columns=adata.var_names,
            layers=[name for name in adata.layers if name != layer],
        )
        library = torch.from_numpy(totals.astype(np.float32))
        return cls(stored, rows, library, columns, buffer=buffer)

    @property
    def n_features(self) -> int:
        """The number of features ``G``."""
        return self.stored.n_features

    @property
    def n_observations(self) -> int:
        """The number of observations ``N``."""
        return len(self.rows)

    def __len__(self) -> int:
        return self.n_observations

    def to(self, device: torch.device | str) -> CountFile:
        """Has batches cut on ``device``."""
        return replace(self, device=torch.device(device))

    def subset(self, rows: Tensor | np.ndarray | Sequence[int]) -> CountFile:
        """Some observations as a data set of their own, as of a `CountMatrix`, still on disk."""
        index = (rows if isinstance(rows, Tensor) else torch.tensor(rows)).cpu()
        return replace(
            self,
            rows=self.rows[index.numpy()],
            library=self.library[index],
            covariates={name: column[index] for name, column in self.covariates.items()},
        )

    def batches(
        self,
        batch_size: int,
        random: np.random.Generator | None = None,
        start: int = 0,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> Iterator[Batch]:
        """Cuts all observations into mini-batches, as `CountMatrix.batches` does.

        Args:
            batch_size: Observations a batch; the last may have fewer.
            random: What shuffles them; None to go from first to last.
            start: The batch to start with, from 0.
            share: Which part of every batch to read; all of it unless said otherwise.
        """
        size = max(1, self.buffer // batch_size) * batch_size
        order = np.arange(len(self)) if random is None else self._shuffled(size, random)
        buffers = (
            self._read_parts(index.split(batch_size), share)
            for index in torch.from_numpy(order[start * batch_size :]).split(size)
        )
        is_idle = self.device.type != "cpu" or _core_to_spare()
        for parts, indices, buffer in ahead(buffers) if is_idle else buffers:
            places = torch.arange(len(buffer)).split([len(index) for index in indices])
            for part, index, place in zip(parts, indices, places, strict=True):
                yield replace(self._cut(buffer, place, index), part=part)

    def batch(self, index: Tensor) -> Batch:
        """Reads a mini-batch of any observations, as `CountMatrix.batch` cuts one."""
        return self._cut(self._read(index.cpu()), torch.arange(len(index)), index)

    def _cut(self, buffer: CountMatrix, place: Tensor, index: Tensor) -> Batch:
        """The rows at some places of a buffer, with their positions in the whole data set."""
        batch = buffer.batch(place)
        return replace(batch, index=index.to(self.device), n_observations=len(self))

    def _shuffled(self, size: int, random: np.random.Generator) -> np.ndarray:
        """Blocks of the file in random order, and the rows of each ``size`` of them shuffled."""
        _, block = np.unique(self.rows // self.block, return_inverse=True)
        order = np.argsort(random.permutation(block.max(initial=-1) + 1)[block], kind="stable")
        for start in range(0, len(order), size):
            random.shuffle(order[start : start + size])  # in place
        return order

    def _read_parts(
        self, whole: Sequence[Tensor], share: Share
    ) -> tuple[list[Part], list[Tensor], CountMatrix]:
        """One process's parts of some batches, their positions, and their rows in a buffer."""
        parts = [share.part(len(index)) for index in whole]
        indices = [index[part.rows] for part, index in zip(parts, whole, strict=True)]
        return parts, indices, self._read(torch.cat(indices))

    def _read(self, index: Tensor) -> CountMatrix:
        counts, library = self.stored.read(self.rows[index.numpy()]), self.library[index].numpy()
        # chunks of zarr that are gone are read as zeros
        read, known = counts.data.sum(dtype=np.float64), library.sum(dtype=np.float64)
        if abs(read - known) > ROUNDING * known:
            raise DataError(
                f"{self.stored.name} has changed since it was opened: rows that added up to "
                f"{known:.0f} counts now add up to {read:.0f}. Put the file back and start again."
            )
        buffer = CountMatrix.from_checked(
            counts,
            library,
            {name: column[index] for name, column in self.covariates.items()},
        )
        return buffer.to(self.device)


Counts = CountMatrix | CountFile


def counts_of(adata: AnnData, layer: str | None = None, covariates: Iterable[str] = ()) -> Counts:
    """The counts of an AnnData: where they are on disk, there they stay.

    Args:
        adata: Observations x features. What `vae4counts.data.load` was asked to leave on disk
            is read from there, and so is what ``anndata.read_h5ad(path, backed="r")`` gives.
        layer: See `CountMatrix.from_anndata`.
        covariates: See `CountMatrix.from_anndata`.

    Raises and warns as `CountMatrix.from_anndata` or `CountFile.from_anndata` does.
    """
    kind = CountFile if is_on_disk(adata, layer) else CountMatrix
    return kind.from_anndata(adata, layer, covariates)


def _core_to_spare() -> bool:
    """Whether a thread of our own has a core that torch leaves free.

    Where it has none, torch's threads wait for the one that it holds up at the end of every
    operation: reading ahead then costs more than it saves.
    """
    return (os.cpu_count() or 1) > torch.get_num_threads()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Has the next item made in a thread while this one is used."""
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield item
