"""A data set of sparse counts that stays on disk, read a shuffle buffer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.data.counts.batch_parts import Part, Share
from vae4counts.data.counts.columns import CovariateNames, covariate_tensors
from vae4counts.data.counts.layers import layer_names
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.prefetch import has_spare_core, prefetch
from vae4counts.data.counts.stored_matrix import BLOCK, StoredMatrix, find_stored, is_on_disk
from vae4counts.data.counts.validation import check_counts
from vae4counts.data.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

CPU = torch.device("cpu")

# Stored values in a buffer: 64 MB as a `CountMatrix`. Two buffers are in memory at a time, and the
# arrays that a third is made from.
BUFFER = 2**23
# Relative error of sums of totals that are stored as float32.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class CountFile:
    """``N`` observations of ``G`` counts on disk, with the interface of `CountMatrix`.

    An epoch goes through the file in blocks of consecutive rows, in random order. As many blocks
    as fill a buffer are read at once, their rows are shuffled, and batches are cut from them (the
    idea of scDataset, D'Ascenzo and Cultrera di Montesano 2025, and of annbatch). If there is a
    spare core, the next buffer is read meanwhile.

    Attributes:
        stored: The matrix on disk.
        rows: Position of each observation in it, shape ``(N,)``, int64.
        library: Total count of each observation, shape ``(N,)``, float32, in memory.
        covariates: Further columns by name, each of shape ``(N,)``.
        device: Where batches are cut.
        block: Rows of the file that stay together in a shuffled order.
        buffer: Observations in a buffer.
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
        cls, adata: AnnData, layer: str | None = None, covariates: CovariateNames = ()
    ) -> CountFile:
        """Read the counts once, to check them and to add up their rows.

        Args:
            adata: Observations x features, or a view of them, with the counts on disk in CSR.
            layer: See `CountMatrix.from_anndata`.
            covariates: See `CountMatrix.from_anndata`.

        Raises and warns as `CountMatrix.from_anndata` does, and:

        Raises:
            DataError: The counts are not on disk, are not stored as CSR, or cannot be read.
        """
        stored, rows = find_stored(adata, layer)
        columns = covariate_tensors(adata.obs, covariates)
        mean = stored.n_entries(rows) / max(len(rows), 1)
        buffer = max(1, int(BUFFER / max(mean, 1.0)))
        totals = check_counts(
            (stored.read(rows[start : start + buffer]) for start in range(0, len(rows), buffer)),
            (len(rows), stored.n_features),
            name=stored.name,
            rows=adata.obs_names,
            columns=adata.var_names,
            layers=[name for name in layer_names(adata) if name != layer],
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
        """Return the same data set with batches cut on ``device``."""
        return replace(self, device=torch.device(device))

    def subset(self, rows: Tensor | np.ndarray | Sequence[int]) -> CountFile:
        """Return some observations as a data set, still on disk; see `CountMatrix.subset`."""
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
        """Cut all observations into mini-batches, as `CountMatrix.batches` does.

        Args:
            batch_size: Observations in a batch; the last may have fewer.
            random: The generator that shuffles them; None to keep them in order.
            start: The batch to start with, from 0.
            share: Which part of every batch to read; all of it by default.
        """
        size = max(1, self.buffer // batch_size) * batch_size
        order = np.arange(len(self)) if random is None else self._shuffled(size, random)
        buffers = (
            self._read_parts(index.split(batch_size), share)
            for index in torch.from_numpy(order[start * batch_size :]).split(size)
        )
        is_idle = self.device.type != "cpu" or has_spare_core()
        for parts, indices, buffer in prefetch(buffers) if is_idle else buffers:
            places = torch.arange(len(buffer)).split([len(index) for index in indices])
            for part, index, place in zip(parts, indices, places, strict=True):
                yield replace(self._cut(buffer, place, index), part=part)

    def batch(self, index: Tensor) -> Batch:
        """Read a mini-batch of any observations, as `CountMatrix.batch` cuts one."""
        return self._cut(self._read(index.cpu()), torch.arange(len(index)), index)

    def _cut(self, buffer: CountMatrix, place: Tensor, index: Tensor) -> Batch:
        """Cut the rows at some places of a buffer, with their positions in the data set."""
        batch = buffer.batch(place)
        return replace(batch, index=index.to(self.device), n_observations=len(self))

    def _shuffled(self, size: int, random: np.random.Generator) -> np.ndarray:
        """Put the blocks of the file in random order, and shuffle each ``size`` rows of it."""
        _, block = np.unique(self.rows // self.block, return_inverse=True)
        order = np.argsort(random.permutation(block.max(initial=-1) + 1)[block], kind="stable")
        for start in range(0, len(order), size):
            random.shuffle(order[start : start + size])  # in place
        return order

    def _read_parts(
        self, whole: Sequence[Tensor], share: Share
    ) -> tuple[list[Part], list[Tensor], CountMatrix]:
        """Read one process's parts of some batches: parts, positions, and rows in a buffer."""
        parts = [share.part(len(index)) for index in whole]
        indices = [index[part.rows] for part, index in zip(parts, whole, strict=True)]
        return parts, indices, self._read(torch.cat(indices))

    def _read(self, index: Tensor) -> CountMatrix:
        counts, library = self.stored.read(self.rows[index.numpy()]), self.library[index].numpy()
        # missing chunks of a zarr array are read as zeros
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


def counts_of(adata: AnnData, layer: str | None = None, covariates: CovariateNames = ()) -> Counts:
    """Return the counts of an AnnData; those on disk stay there.

    Args:
        adata: Observations x features. What ``load(path, out_of_core=True)`` or
            ``anndata.read_h5ad(path, backed="r")`` has left on disk is read from there.
        layer: See `CountMatrix.from_anndata`.
        covariates: See `CountMatrix.from_anndata`.

    Raises and warns as `CountMatrix.from_anndata` or `CountFile.from_anndata` does.
    """
    kind = CountFile if is_on_disk(adata, layer) else CountMatrix
    return kind.from_anndata(adata, layer, covariates)
