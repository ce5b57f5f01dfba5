"""Batch normalisation whose running moments weight rows, not batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The running moments average about as many of the last rows (momentum 0.1 for batches of 128).
ROWS_REMEMBERED = 1152


class BatchNorm(nn.Module):
    """Batch normalisation whose running moments weight rows, not batches (Ioffe & Szegedy 2015).

    A short last batch changes them in proportion to its few rows, and the first batches are not
    averaged with initial values. A batch of one row, which has no variance, is normalised by the
    running moments, and so is every batch of a layer that is frozen (``requires_grad=False``).

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
        learns = self.learns(len(inputs))
        return nn.functional.batch_norm(
            inputs,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=learns,
            momentum=self.remember(len(inputs)) if learns else 0.0,
            eps=self.eps,
        )

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
