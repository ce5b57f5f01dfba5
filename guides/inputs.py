"""Scaling of the values that an encoder reads, which keeps counts sparse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.config import Configured
from vae4counts.models.networks import SparseLinear

# Rows are scaled to this total: "counts per ten thousand", as in scanpy and Seurat.
SCALED_TOTAL = 1e4
# Standard deviations below this fraction of the mean are rounding errors of float32.
ROUNDING_ERROR = 1e-6


class InputScaling(Configured, nn.Module):
    r"""The map of each value ``x_ij`` to ``(f(x_ij * c / n_i) - m_j) / s_j``.

    ``n_i`` is the row's total count, ``f`` is the identity or ``log1p`` (taken *after* scaling the
    row), and ``m_j``, ``s_j`` are the mean and standard deviation of the values of ``f``. A zero
    becomes ``-m_j / s_j``, which is the same for all rows: it is kept separately as `shift`, so
    that the scaled input is as sparse as the counts. Without it an all-zero row stays all zero.
    A missing entry of a dense table reads as the mean, or as 0 where that is not subtracted.

    Args:
        per_library: Whether to divide each row by its total and multiply by 10,000.
        log: Whether to take ``log(1 + x)``.
        standardise: Whether to subtract the mean and divide by the standard deviation of each
            feature in the training data.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, per_library: bool = False, log: bool = False, standardise: bool = False
    ) -> None:
        super().__init__()
        self.per_library, self.log, self.standardise = per_library, log, standardise

    def build(self, n_features: int) -> None:
        """Make the buffers of the features' means and standard deviations."""
        if self.standardise:
            self.register_buffer("mean", torch.zeros(n_features))
            self.register_buffer("deviation", torch.ones(n_features))

    def initialise(self, batch: Batch) -> None:
        """Compute the means and standard deviations of training observations."""
        if self.standardise:
            self.start(batch.counts)

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """Compute the means and standard deviations of values, CSR or dense, ``(B, G)``."""
        mean, deviation = _moments(self._transformed(values))
        self.mean.copy_(mean)
        # a feature that never varies, up to rounding, is scaled to zero
        deviation = deviation.to(self.mean.dtype)
        constant = deviation <= ROUNDING_ERROR * self.mean.abs()
        self.deviation.copy_(deviation.masked_fill(constant, torch.inf))

    def forward(self, values: Tensor) -> Tensor:
        """Scale a CSR or dense ``(B, G)`` matrix, without the shift; the layout is kept."""
        scaled = self._transformed(values)
        if scaled.layout == torch.strided:
            known = self.mean if self.standardise else scaled.new_zeros(())
            scaled = torch.where(values.isnan(), known, scaled)
            return scaled / self.deviation if self.standardise else scaled
        if not self.standardise:
            return scaled
        entries = scaled.values() / self.deviation[scaled.col_indices()]
        return _with_entries(scaled, entries)

    def _transformed(self, values: Tensor) -> Tensor:
        """Return ``f(x_ij * c / n_i)``, CSR or dense as the values are."""
        if values.layout == torch.strided:
            if self.per_library:
                values = values * (SCALED_TOTAL / values.sum(-1, keepdim=True).clamp_min(1e-12))
            return torch.log1p(values) if self.log else values
        entries = values.values()
        if self.per_library:
            rows = values.crow_indices()
            total = torch.segment_reduce(entries, "sum", offsets=rows.long(), initial=0)
            entries = entries * (SCALED_TOTAL / total).repeat_interleave(rows.diff())
        return _with_entries(values, torch.log1p(entries) if self.log else entries)

    @property
    def shift(self) -> Tensor | None:
        """``m / s``, to subtract from every row, shape ``(G,)``; None if nothing is subtracted."""
        return self.mean / self.deviation if self.standardise else None


def _with_entries(matrix: Tensor, entries: Tensor) -> Tensor:
    """Return a CSR matrix with other entries at the same places."""
    return torch.sparse_csr_tensor(
        matrix.crow_indices(),
        matrix.col_indices(),
        entries,
        matrix.shape,
        check_invariants=False,
    )


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each column in float64, missing entries left out.

    A column without values has mean 0 and standard deviation 0.
    """
    if values.layout == torch.strided:
        dense = values.double()
        mean = dense.nanmean(0)
        squares = (dense - mean).square().nanmean(0)
        return mean.nan_to_num(0.0), squares.nan_to_num(0.0).sqrt()
    n_rows, n_columns = values.shape
    columns, entries = values.col_indices().long(), values.values().double()
    mean, zeros = torch.zeros((2, n_columns), dtype=entries.dtype, device=entries.device)
    mean.index_add_(0, columns, entries).div_(n_rows)
    zeros.index_add_(0, columns, torch.ones_like(entries)).neg_().add_(n_rows)
    squares = (zeros * mean**2).index_add_(0, columns, (entries - mean[columns]) ** 2)
    return mean, (squares / n_rows).sqrt()


INPUTS: dict[str, Callable[[], InputScaling]] = {
    "identity": InputScaling,
    "log1p": partial(InputScaling, log=True),
    "counts-per-scale": partial(InputScaling, per_library=True),
    "log1p-counts-per-scale": partial(InputScaling, per_library=True, log=True),
    "standardised": partial(InputScaling, standardise=True),
}


class InputLayer(nn.Module):
    """An encoder's first linear map: scaled counts times a weight, at the cost of non-zeros.

    The design of the covariates that the encoder sees, if any, has a weight of its own.
    """

    def __init__(
        self, scaling: InputScaling, n_inputs: int, n_outputs: int, n_covariates: int = 0
    ) -> None:
        super().__init__()
        # in a tuple, so that the scaling is not registered as a module of the layer too
        self._scaling = (scaling,)
        self.linear = SparseLinear(n_inputs, n_outputs)
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(n_outputs))
        self.design = nn.Linear(n_covariates, n_outputs, bias=False) if n_covariates else None

    def forward(self, counts: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Map ``(B, G)`` counts, CSR or dense, and ``(B, C)`` covariates to ``(B, n_outputs)``."""
        (scaling,) = self._scaling
        hidden = self.linear(scaling(counts))
        if self.design is not None:
            hidden = hidden + self.design(covariates)
        if self.bias is not None:
            hidden = hidden + self.bias
        shift = scaling.shift
        return hidden if shift is None else hidden - self.linear(shift)
