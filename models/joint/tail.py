"""What counts have beyond a threshold, by their moments."""

from __future__ import annotations

import numpy as np
from torch import Tensor

TAILS = ("negative-binomial", "geometric")
# Inverse dispersions from a variance of a thousand times the squared mean to nearly a Poisson.
SMALLEST_R, LARGEST_R = 1e-3, 1e4


def check_states(n_states: int, tail: str | None) -> None:
    """Check into how many states counts are cut, and what the last one's tail is to be.

    Raises:
        ValueError: There are fewer than 2 states, or the tail is unknown.
    """
    if n_states < 2:
        raise ValueError(f"n_states is {n_states}: it must be 2 or more")
    if tail is not None and tail not in TAILS:
        raise ValueError(f"tail is {tail!r}: it must be one of {', '.join(TAILS)}, or None")


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
