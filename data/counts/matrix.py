"""A data set of sparse counts in memory, and mini-batches cut from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS, Batch, Table, on_device, rows_of
from vae4counts.data.counts.batch_parts import Share
from vae4counts.data.counts.columns import CovariateNames, covariate_tensors
from vae4counts.data.counts.cutting import batches_in_memory
from vae4counts.data.counts.layers import find_layer, layer_names, matrix_name
from vae4counts.data.counts.sparse import canonical_csr
from vae4counts.data.counts.validation import check_counts, suggest_layer
from vae4counts.data.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData
    from torch.distributions.constraints import Constraint


@dataclass(frozen=True, slots=True, eq=False)
class CountMatrix:
    """``N`` observations of ``G`` counts as flat sparse arrays, on one device.

    Like CSR, except that each row has its own start and end, so that a subset of the observations
    is a data set that shares the arrays of the whole.

    Attributes:
        starts: Where each row starts in ``indices`` and ``values``, shape ``(N,)``, int64.
        ends: Where each row ends in them, shape ``(N,)``, int64.
        indices: Feature of each non-zero count, shape ``(nnz,)``, int32, sorted in each row.
        values: The non-zero counts, shape ``(nnz,)``, float32.
        library: Total count of each observation, shape ``(N,)``, float32.
        n_features: The number of features ``G``.
        covariates: Further columns by name, each of shape ``(N,)``.
    """

    starts: Tensor
    ends: Tensor
    indices: Tensor
    values: Tensor
    library: Tensor
    n_features: int
    covariates: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        covariates: CovariateNames = (),
        *,
        name: str | None = None,
        support: Constraint | None = None,
    ) -> CountMatrix:
        """Copy the counts of an AnnData, after checking that they are raw counts.

        Args:
            adata: Observations x features; the counts may be CSR, CSC or dense, of any
                numeric type.
            layer: The layer that holds the raw counts, which may be ``"raw"``; None for ``X``.
            covariates: Columns of ``obs`` to put into batches, by name or with their levels:
                categorical ones become int64 codes, numeric ones float32; see
                `covariate_tensors`.
            name: What errors call the counts; by default as they are called in the AnnData.
            support: Which counts the likelihood takes; all by default.

        Raises:
            DataError: The values are not raw counts, or there are none; or a covariate has a
                missing value or an unknown level.
            UnknownName: There is no such layer or column.

        Warns:
            UserWarning: Whole rows or columns are zero, or counts are too large for float32.
        """
        matrix, columns = find_layer(adata, layer)
        layers = None if name else [other for other in layer_names(adata) if other != layer]
        name = name or matrix_name(layer)
        if matrix is None:
            raise DataError(f"{name} holds nothing.{suggest_layer(layers)}")
        csr = canonical_csr(matrix.to_memory() if hasattr(matrix, "to_memory") else matrix, name)
        csr = csr if columns is None else canonical_csr(csr[:, columns], name)
        names = {"rows": adata.obs_names, "columns": adata.var_names}
        totals = check_counts([csr], csr.shape, name=name, layers=layers, support=support, **names)
        return cls.from_checked(csr, totals, covariate_tensors(adata.obs, covariates))

    @classmethod
    def from_scipy(cls, matrix: Any) -> CountMatrix:
        """Copy a SciPy sparse matrix, or a dense array, of shape ``(N, G)``.

        Raises and warns as `from_anndata` does about values.
        """
        csr = canonical_csr(matrix, "The matrix")
        return cls.from_checked(csr, check_counts([csr], csr.shape))

    @classmethod
    def from_checked(
        cls, csr: sp.csr_matrix, totals: np.ndarray, covariates: Mapping[str, Tensor] | None = None
    ) -> CountMatrix:
        """Wrap canonical CSR counts whose values and totals have been checked."""
        indptr = torch.from_numpy(csr.indptr.astype(np.int64))
        return cls(
            starts=indptr[:-1],
            ends=indptr[1:],
            indices=torch.from_numpy(csr.indices.astype(np.int32, copy=False)),
            values=torch.from_numpy(csr.data.astype(np.float32, copy=False)),
            library=torch.from_numpy(totals.astype(np.float32)),
            n_features=csr.shape[1],
            covariates=covariates or {},
        )

    @property
    def members(self) -> Mapping[str, CountMatrix]:
        """The tables by name: this one, ``"counts"`` by the name of its site."""
        return {COUNTS: self}

    @property
    def libraries(self) -> Mapping[str, Tensor]:
        """Total counts by table."""
        return {COUNTS: self.library}

    @property
    def n_observations(self) -> int:
        """The number of observations ``N``."""
        return self.library.shape[0]

    def __len__(self) -> int:
        return self.n_observations

    @property
    def device(self) -> torch.device:
        """The device of the counts, where batches are cut."""
        return self.values.device

    def to(self, device: torch.device | str) -> CountMatrix:
        """Copy the counts to ``device``; tensors that are on it already are not copied."""
        return replace(
            self,
            starts=self.starts.to(device),
            ends=self.ends.to(device),
            indices=self.indices.to(device),
            values=self.values.to(device),
            library=self.library.to(device),
            covariates=on_device(self.covariates, device),
        )

    def batches(
        self,
        batch_size: int,
        random: np.random.Generator | None = None,
        start: int = 0,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> Iterator[Batch]:
        """Cut all observations into mini-batches.

        Args:
            batch_size: Observations in a batch; the last may have fewer.
            random: The generator that shuffles them; None to keep them in order.
            start: The batch to start with, from 0.
            share: Which part of every batch to cut; all of it by default.
        """
        return batches_in_memory(self, batch_size, random, start, share)

    def batch(self, index: Tensor) -> Batch:
        """Cut out a mini-batch, on the device of the counts.

        Args:
            index: Positions of ``B`` observations, shape ``(B,)``, int64, in any order;
                repeats are allowed.

        Returns:
            A batch with the table ``"counts"``: a float32 CSR tensor of shape ``(B, G)`` with
            int32 indices.
        """
        index = index.to(self.device)
        return Batch(
            {COUNTS: self.table(index)}, index, self.n_observations, rows_of(self.covariates, index)
        )

    def table(self, index: Tensor) -> Table:
        """Cut the rows at some positions out of the table."""
        index = index.to(self.device)
        crow, entries = self._entries(index)
        counts = torch.sparse_csr_tensor(
            crow.to(torch.int32),
            self.indices.index_select(0, entries),
            self.values.index_select(0, entries),
            size=(index.shape[0], self.n_features),
            check_invariants=False,  # they hold by construction
        )
        return Table(counts, self.library.index_select(0, index))

    def subset(self, rows: Tensor | np.ndarray | Sequence[int]) -> CountMatrix:
        """Return some observations as a data set that shares the counts of this one.

        Batches of the subset have its size as their ``n_observations``, and their ``index`` are
        positions in the subset.

        Args:
            rows: Positions of the observations to keep, shape ``(M,)``, int64.
        """
        index = (rows if isinstance(rows, Tensor) else torch.tensor(rows)).to(self.device)
        return replace(
            self,
            starts=self.starts.index_select(0, index),
            ends=self.ends.index_select(0, index),
            library=self.library.index_select(0, index),
            covariates=rows_of(self.covariates, index),
        )

    def _entries(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row starts of a cut, ``(B + 1,)``, and where each entry of it is stored."""
        starts = self.starts.index_select(0, index)
        ends = self.ends.index_select(0, index)
        crow = torch.cat([starts.new_zeros(1), (ends - starts).cumsum(0)])
        # Entries are consecutive except for a jump from the end of one row to the start of the
        # next: a running sum of ones and jumps is faster than repeating each row's start. Empty
        # rows add their jump to that of the next row; those at the end to the spare last step.
        n_entries = int(crow[-1])
        steps = starts.new_ones(n_entries + 1)
        jumps = starts - torch.cat([starts.new_ones(1), ends[:-1]])
        steps.index_add_(0, crow[:-1], jumps)
        return crow, steps.cumsum(0)[:n_entries]
