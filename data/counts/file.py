"""A data set of sparse counts that stays on disk, read a shuffle buffer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS, Batch, Table, rows_of
from vae4counts.data.counts.batch_parts import Share
from vae4counts.data.counts.columns import CovariateNames, covariate_tensors
from vae4counts.data.counts.cutting import batches_on_disk
from vae4counts.data.counts.layers import layer_names
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.stored_matrix import BLOCK, StoredMatrix, find_stored, is_on_disk
from vae4counts.data.counts.validation import check_counts
from vae4counts.data.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData
    from torch.distributions.constraints import Constraint

CPU = torch.device("cpu")

# Stored values in a buffer: 64 MB as a `CountMatrix`. Two buffers are in memory at a time, and the
# arrays that a third is made from.
BUFFER = 2**23
# Relative error of sums of totals that are stored as float32.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class CountFile:
    """``N`` observations of ``G`` counts on disk, with the interface of `CountMatrix`.

    An epoch goes through the file in blocks of consecutive rows, in random order, see
    `batches_on_disk`.

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
        cls,
        adata: AnnData,
        layer: str | None = None,
        covariates: CovariateNames = (),
        *,
        name: str | None = None,
        support: Constraint | None = None,
    ) -> CountFile:
        """Read the counts once, to check them and to add up their rows.

        Args:
            adata: Observations x features, or a view of them, with the counts on disk in CSR.
            layer: See `CountMatrix.from_anndata`.
            covariates: See `CountMatrix.from_anndata`.
            name: See `CountMatrix.from_anndata`.
            support: See `CountMatrix.from_anndata`.

        Raises and warns as `CountMatrix.from_anndata` does, and:

        Raises:
            DataError: The counts are not on disk, are not stored as CSR, or cannot be read.
        """
        stored, rows = find_stored(adata, layer)
        layers = None if name else [other for other in layer_names(adata) if other != layer]
        columns = covariate_tensors(adata.obs, covariates)
        mean = stored.n_entries(rows) / max(len(rows), 1)
        buffer = max(1, int(BUFFER / max(mean, 1.0)))
        totals = check_counts(
            (stored.read(rows[start : start + buffer]) for start in range(0, len(rows), buffer)),
            (len(rows), stored.n_features),
            name=name or stored.name,
            rows=adata.obs_names,
            columns=adata.var_names,
            layers=layers,
            support=support,
        )
        library = torch.from_numpy(totals.astype(np.float32))
        return cls(stored, rows, library, columns, buffer=buffer)

    @property
    def members(self) -> Mapping[str, CountFile]:
        """The tables by name: this one, ``"counts"`` by the name of its site."""
        return {COUNTS: self}

    @property
    def libraries(self) -> Mapping[str, Tensor]:
        """Total counts by table."""
        return {COUNTS: self.library}

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
            covariates=rows_of(self.covariates, index),
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
        return batches_on_disk(self, batch_size, random, start, share)

    def batch(self, index: Tensor) -> Batch:
        """Read a mini-batch of any observations, as `CountMatrix.batch` cuts one."""
        batch = self.read(index.cpu()).batch(torch.arange(len(index)))
        return replace(batch, index=index.to(self.device), n_observations=len(self))

    def table(self, index: Tensor) -> Table:
        """Read the rows at some positions of the table."""
        return self.read(index.cpu()).table(torch.arange(len(index)))

    @property
    def blocks(self) -> np.ndarray:
        """Numbers of the blocks of the file that the observations are in, shape ``(N,)``."""
        return self.rows // self.block

    def read(self, index: Tensor) -> CountMatrix:
        """Read the observations at some positions (on the CPU) into memory.

        Raises:
            DataError: The file cannot be read, or has changed since it was opened.
        """
        counts, library = self.stored.read(self.rows[index.numpy()]), self.library[index].numpy()
        # missing chunks of a zarr array are read as zeros
        read, known = counts.data.sum(dtype=np.float64), library.sum(dtype=np.float64)
        if abs(read - known) > ROUNDING * known:
            raise DataError(
                f"{self.stored.name} has changed since it was opened: rows that added up to "
                f"{known:.0f} counts now add up to {read:.0f}. Put the file back and start again."
            )
        buffer = CountMatrix.from_checked(counts, library, rows_of(self.covariates, index))
        return buffer.to(self.device)


def counts_of(
    adata: AnnData,
    layer: str | None = None,
    covariates: CovariateNames = (),
    *,
    name: str | None = None,
    support: Constraint | None = None,
) -> CountMatrix | CountFile:
    """Return the counts of an AnnData; those on disk stay there.

    Args:
        adata: Observations x features. What ``load(path, out_of_core=True)`` or
            ``anndata.read_h5ad(path, backed="r")`` has left on disk is read from there.
        layer: See `CountMatrix.from_anndata`.
        covariates: See `CountMatrix.from_anndata`.
        name: See `CountMatrix.from_anndata`.
        support: See `CountMatrix.from_anndata`.

    Raises and warns as `CountMatrix.from_anndata` or `CountFile.from_anndata` does.
    """
    kind = CountFile if is_on_disk(adata, layer) else CountMatrix
    return kind.from_anndata(adata, layer, covariates, name=name, support=support)
