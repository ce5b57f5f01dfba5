"""Batch normalisation whose running moments weight rows, not batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vae4counts.models.numerics import at_least_float32

# The running moments average about as many of the last rows (momentum 0.1 for batches of 128).
ROWS_REMEMBERED = 1152
# The moments of fewer rows are noise: remembered rows are counted with them, up to so many.
FEWEST_ROWS = 8


class BatchNorm(nn.Module):
    """Batch normalisation whose running moments weight rows, not batches (Ioffe & Szegedy 2015).

    A short last batch changes them in proportion to its few rows, and the first batches are not
    averaged with initial values. A batch of fewer than 8 rows, as of a table that few observations
    have, is normalised by the moments of these and of as many remembered rows as make up 8; one of
    a single row, which has no variance, by the running moments alone, and so is every batch of a
    layer that is frozen (``requires_grad=False``).

    Args:
        n_units: Width ``H``.
    """

    running_mean: Tensor
    running_var: Tensor
    rows_seen: Tensor

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.weight = nn.Parameter(torch.ones(n_units))
        self.bias = nn.Parameter(torch.zeros(n_units))
        self.register_buffer("running_mean", torch.zeros(n_units))
        self.register_buffer("running_var", torch.ones(n_units))
        self.register_buffer("rows_seen", torch.zeros((), dtype=torch.long))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise inputs of shape ``(B, H)``."""
        rows = len(inputs)
        learns = self.learns(rows)
        if learns and rows < FEWEST_ROWS:
            variance, mean = torch.var_mean(at_least_float32(inputs), 0, correction=0)
            return self.normalise(inputs, mean, variance, rows)
        return nn.functional.batch_norm(
            inputs,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=learns,
            momentum=self.remember(rows) if learns else 0.0,
            eps=self.eps,
        )

    def normalise(self, inputs: Tensor, mean: Tensor, variance: Tensor, rows: int) -> Tensor:
        """Normalise inputs by the moments of a batch, and remember these.

        Args:
            inputs: Some rows of the batch, shape ``(R, H)``.
            mean: The mean of the batch, shape ``(H,)``.
            variance: Its variance, without Bessel's correction.
            rows: Number of rows of the batch, 2 or more.
        """
        added = min(max(0, FEWEST_ROWS - rows), int(self.rows_seen))
        share, away = added / (rows + added), self.running_mean - mean
        of_all = torch.lerp(variance, self.running_var.to(variance), share)
        of_all = of_all + share * (1 - share) * away.square()
        scale = self.weight * (of_all + self.eps).rsqrt()
        normalised = (inputs - (mean + share * away)) * scale + self.bias
        with torch.no_grad():
            weight = self.remember(rows)
            self.running_mean.lerp_(mean.to(self.running_mean), weight)
            unbiased = variance * (rows / (rows - 1))
            self.running_var.lerp_(unbiased.to(self.running_var), weight)
        return normalised.to(inputs)

    def learns(self, rows: int) -> bool:
        """Whether some rows are normalised by their own moments, which are then remembered."""
        return self.training and self.weight.requires_grad and rows > 1

    def remember(self, rows: int) -> float:
        """Count rows of training and return the weight of their moments in the running moments."""
        self.rows_seen += rows
        return rows / min(int(self.rows_seen), rows + ROWS_REMEMBERED)

    def extra_repr(self) -> str:
        """Return the layer's width."""
        return str(len(self.weight))
