"""How counts are scaled before the encoder sees them, without losing their zeros."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.config import Configured
from vae4counts.models.networks import SparseLinear

# Rows are scaled to this total: "counts per ten thousand", as in scanpy and Seurat.
COUNTS_PER = 1e4
# Relative to the mean, deviations below this are float32's own.
ROUNDING = 1e-6


class InputScaling(Configured, nn.Module):
    r"""Maps each count ``x_ij`` to ``(f(x_ij * c / n_i) - m_j) / s_j``.

    ``n_i`` is the row's total count, ``f`` is the identity or ``log1p`` (in this order: log1p
    *after* the row scaling), and ``m``, ``s`` are the mean and standard deviation of a feature's
    values before. Zeros stay zeros up to ``-m_j / s_j``, which is the same for all rows: it is
    kept apart as `shift`, so that the scaled input is as sparse as the counts. An all-zero row
    stays all zero.

    Args:
        per_library: Divides each row by its total and multiplies by 10,000.
        log: Takes ``log(1 + x)``.
        standardise: Subtracts the mean and divides by the standard deviation of each feature,
            as seen in the training data.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, per_library: bool = False, log: bool = False, standardise: bool = False
    ) -> None:
        super().__init__()
        self.per_library, self.log, self.standardise = per_library, log, standardise

    def build(self, n_features: int) -> None:
        """Makes room for the features' means and standard deviations."""
        if self.standardise:
            self.register_buffer("mean", torch.zeros(n_features))
            self.register_buffer("deviation", torch.ones(n_features))

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Measures the means and standard deviations on training observations."""
        if self.standardise:
            self.mean.zero_()
            self.deviation.fill_(1.0)
            scaled = self(batch.counts)
            columns, values = scaled.col_indices().long(), scaled.values().double()
            mean, zeros = torch.zeros(
                (2, scaled.shape[1]), dtype=values.dtype, device=values.device
            )
            mean.index_add_(0, columns, values).div_(len(batch))
            zeros.index_add_(0, columns, torch.ones_like(values)).neg_().add_(len(batch))
            squares = (zeros * mean**2).index_add_(0, columns, (values - mean[columns]) ** 2)
            self.mean.copy_(mean)
            # a feature that never varies, but for rounding, carries nothing: it is scaled to zero
            deviation = (squares / len(batch)).sqrt().to(self.mean.dtype)
            constant = deviation <= ROUNDING * self.mean.abs()
            self.deviation.copy_(deviation.masked_fill(constant, torch.inf))

    def forward(self, counts: Tensor) -> Tensor:
        """Scales a CSR or dense ``(B, G)`` matrix, without the shift; the layout is kept."""
        if counts.layout == torch.strided:
            scaled = counts
            if self.per_library:
                scaled = scaled * (COUNTS_PER / counts.sum(-1, keepdim=True).clamp_min(1e-12))
            scaled = torch.log1p(scaled) if self.log else scaled
            return scaled / self.deviation if self.standardise else scaled
        scaled, rows, columns = counts.values(), counts.crow_indices(), counts.col_indices()
        if self.per_library:
            total = torch.segment_reduce(scaled, "sum", offsets=rows.long(), initial=0)
            scaled = scaled * (COUNTS_PER / total).repeat_interleave(rows.diff())
        scaled = torch.log1p(scaled) if self.log else scaled
        scaled = scaled / self.deviation[columns] if self.standardise else scaled
        return torch.sparse_csr_tensor(rows, columns, scaled, counts.shape, check_invariants=False)

    @property
    def shift(self) -> Tensor | None:
        """``m / s``, to be subtracted from every row, shape ``(G,)``; None where it is zero."""
        return self.mean / self.deviation if self.standardise else None


INPUTS: dict[str, Callable[[], InputScaling]] = {
    "identity": InputScaling,
    "log1p": partial(InputScaling, log=True),
    "counts-per-scale": partial(InputScaling, per_library=True),
    "log1p-counts-per-scale": partial(InputScaling, per_library=True, log=True),
    "standardised": partial(InputScaling, standardise=True),
}


class InputLayer(nn.Module):
    """An encoder's first linear map: scaled counts times a weight, at the cost of the non-zeros."""

    def __init__(self, scaling: InputScaling, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        # kept in a tuple, so that the scaling's state is the encoder's alone
        self._scaling = (scaling,)
        self.linear = SparseLinear(n_inputs, n_outputs)
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, counts: Tensor) -> Tensor:
        """Maps ``(B, G)`` counts, CSR or dense, to ``(B, n_outputs)``."""
        (scaling,) = self._scaling
        hidden = self.linear(scaling(counts))
        if self.bias is not None:
            hidden = hidden + self.bias
        shift = scaling.shift
        return hidden if shift is None else hidden - self.linear(shift)
