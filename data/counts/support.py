"""The values that a table can hold: counts, real numbers, shares, yes or no."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import constraints


@dataclass(frozen=True)
class Support:
    """The values that a likelihood accepts, in one table of a batch.

    Attributes:
        description: The values in words, for messages: "numbers between 0 and 1".
        constraint: What each value fulfils.
        counts: Whether they are counts: their total is a library size, and log-probabilities of
            different likelihoods can be compared. Others have no library size.
        missing: Whether NaN, in a dense table, marks an entry that is missing.
    """

    description: str
    constraint: constraints.Constraint
    counts: bool = False
    missing: bool = False

    def allows(self, values: Tensor) -> Tensor:
        """Return whether each value is one of these, NaN included if entries may be missing.

        Args:
            values: A dense tensor of any shape, such as the stored entries of a sparse one.

        Returns:
            Booleans of the same shape.
        """
        allowed: Tensor = self.constraint.check(values) & values.isfinite()
        return allowed | values.isnan() if self.missing else allowed


COUNTS = Support("whole numbers, 0 or more", constraints.nonnegative_integer, counts=True)
REAL = Support("finite numbers, or NaN where missing", constraints.real, missing=True)
SHARES = Support(
    "numbers between 0 and 1, or NaN where missing", constraints.unit_interval, missing=True
)
BINARY = Support("0 or 1", constraints.boolean)
