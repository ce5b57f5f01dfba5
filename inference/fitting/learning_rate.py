"""How the learning rate changes over a training: up, and down again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# Of the cycle's steps, those in which the learning rate grows.
RISING_SHARE = 0.15
# Of the highest learning rate, what is left of it at the end.
LAST_SHARE = 0.01


@dataclass(frozen=True)
class OneCycle:
    """One cycle of the learning rate (Smith & Topin 2019).

    It grows linearly to its highest value over the first 15 % of the steps, and falls to 1 % of it
    by half a cosine over the others: large steps find a good region, small ones settle in it.

    Attributes:
        steps: Steps of the whole cycle.
        taken: Steps of it that came before the training that uses this object.
    """

    steps: int
    taken: int = 0

    def after(self, steps: int) -> OneCycle:
        """Return the cycle as it continues after further steps."""
        return replace(self, taken=self.taken + steps)

    def share(self, taken: int) -> float:
        """Return the learning rate of a step, as a share of the highest.

        Args:
            taken: Steps that the training has taken before this one.
        """
        # in the middle of the step: neither the first nor the last has a learning rate of zero
        progress = min(1.0, (self.taken + taken + 0.5) / self.steps)
        if progress < RISING_SHARE:
            return progress / RISING_SHARE
        fallen = (progress - RISING_SHARE) / (1 - RISING_SHARE)
        return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * fallen)) / 2
