"""What counts have beyond a threshold, by their moments."""

from __future__ import annotations

import numpy as np
from torch import Tensor

TAILS = ("negative-binomial", "geometric")
# Inverse dispersions from a variance of a thousand times the squared mean to nearly a Poisson.
SMALLEST_R, LARGEST_R = 1e-3, 1e4


class Tail:
    """Sums over the counts that reach a threshold, of what they have beyond it.

    Args:
        n_features: Number ``G`` of features.
        threshold: The threshold.
    """

    def __init__(self, n_features: int, threshold: int) -> None:
        self.threshold = threshold
        self.sums = np.zeros((3, n_features))  # of 1, the rest and its square

    def add(self, counts: Tensor) -> None:
        """Add observations, CSR, shape ``(B, G)``."""
        rest = counts.values().double().cpu().numpy() - self.threshold
        columns = counts.col_indices().cpu().numpy()[rest >= 0]
        rest = rest[rest >= 0]
        for power, total in enumerate(self.sums):
            total += np.bincount(columns, weights=rest**power, minlength=len(total))

    def moments(self, kind: str) -> np.ndarray:
        """Return mean and inverse dispersion of the rest, shape ``(2, G)``.

        One observation as all features have on average is added to those of each.

        Args:
            kind: "negative-binomial" or "geometric", whose inverse dispersion is 1.
        """
        pooled = self.sums.sum(1) / max(self.sums[0].sum(), 1)
        # no feature may be certain of a rest of 0
        pooled[1:] = np.maximum(pooled[1:], 1 / (1 + self.sums[0].sum()))
        n, total, squares = self.sums + np.array([1, pooled[1], pooled[2]])[:, None]
        mean = total / n
        if kind == "geometric":
            return np.stack([mean, np.ones_like(mean)])
        excess = squares / n - mean**2 - mean
        r = np.divide(mean**2, excess, where=excess > 0, out=np.full_like(mean, LARGEST_R))
        return np.stack([mean, r.clip(SMALLEST_R, LARGEST_R)])
