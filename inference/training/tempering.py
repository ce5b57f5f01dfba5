"""Effect handlers that temper a model and its guide while they train."""

from __future__ import annotations

from typing import Any

from pyro.poutine.messenger import Messenger


class KLWarmUp(Messenger):
    r"""Multiplies the scale of every latent site, in model and guide, by a growing weight.

    The objective of a step is then ``log p(x | z) + w (log p(z) - log q(z | x))`` with
    ``w = min(1, step / steps)`` counted from 1: it never starts at 0, always reaches 1 after
    ``steps`` optimiser steps, and is the same for an enumerated site and those that hang on it
    (Sønderby et al. 2016).

    Args:
        steps: Number of steps until the weight is 1; 0 for no warm-up.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.taken = 0

    @property
    def weight(self) -> float:
        """The weight of the step that comes next."""
        return min(1.0, (self.taken + 1) / self.steps) if self.steps else 1.0

    @property
    def finished(self) -> bool:
        """Whether a step has been taken at a weight of 1."""
        return self.taken >= max(1, self.steps)

    def step(self) -> None:
        """Counts an optimiser step."""
        self.taken += 1

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        is_latent = message["name"] != "counts" and any(
            frame.name == "observations" for frame in message["cond_indep_stack"]
        )
        if is_latent:
            message["scale"] = message["scale"] * self.weight
