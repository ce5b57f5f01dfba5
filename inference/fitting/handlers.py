"""Effect handlers around a model and its guide while they train."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from vae4counts.guides import Guide
from vae4counts.models import Model


class Handler(Messenger):
    """A Pyro effect handler around every training step, told when a step has been taken.

    Attributes:
        kl_weight: The factor by which it multiplies the KL terms of the next step.
        finished: Whether a step has been taken at full weight: from then on a state may be kept.
        needs: The pairs that it `fits`, as an error names them.
    """

    kl_weight: float = 1.0
    finished: bool = True
    needs: str = "other pairs"

    def __repr__(self) -> str:
        """Return the call of the constructor."""
        names = inspect.signature(type(self)).parameters
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({arguments})"

    def fits(self, model: Model, guide: Guide) -> bool:  # noqa: ARG002
        """Whether the handler works, and works correctly, with this pair."""
        return True

    def step(self) -> None:
        """Take note of an optimiser step; nothing unless overridden."""

    def state(self) -> dict[str, Any]:
        """Return what steps have changed, as JSON values for a checkpoint; empty by default."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Set a state that `state` returned; nothing unless overridden."""

    def penalty(self) -> Tensor | float:
        """Return what to add to minus the ELBO of the data set, in nats, for the last batch."""
        return 0.0


class _KLWeight(Handler):
    """A handler that multiplies the scale of every latent site in model and guide by a weight.

    Args:
        steps: Number of steps until the weight stays at 1; 0 for a weight of 1 throughout.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.taken = 0

    @property
    def kl_weight(self) -> float:  # type: ignore[override]
        """The weight of the next step."""
        return self._weight(self.taken) if self.taken < self.steps else 1.0

    @property
    def finished(self) -> bool:  # type: ignore[override]
        """Whether a step has been taken at the final weight of 1."""
        return self.taken >= max(1, self.steps)

    def step(self) -> None:
        """Count an optimiser step."""
        self.taken += 1

    def state(self) -> dict[str, Any]:
        """See `Handler.state`."""
        return {"taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Handler.restore`."""
        self.taken = int(state["taken"])

    @abstractmethod
    def _weight(self, taken: int) -> float:
        """Return the weight after ``taken`` steps, fewer than all."""

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        is_latent = not message["is_observed"] and any(
            frame.name == "observations" for frame in message["cond_indep_stack"]
        )
        if is_latent:
            message["scale"] = message["scale"] * self.kl_weight


class KLWarmUp(_KLWeight):
    r"""A weight of the KL terms that grows once.

    The objective of a step is then ``log p(x | z) + w (log p(z) - log q(z | x))`` with
    ``w = min(1, step / steps)`` and steps counted from 1: it never starts at 0, always reaches 1
    after ``steps`` optimiser steps, and is the same for an enumerated site and those that depend
    on it (Sønderby et al. 2016).

    Args:
        steps: Number of steps until the weight is 1; 0 for a weight of 1 throughout.
    """

    def _weight(self, taken: int) -> float:
        return (taken + 1) / self.steps


class CyclicalAnnealing(_KLWeight):
    """A weight of the KL terms that grows several times (Fu et al. 2019).

    In each of ``cycles`` equal parts of ``steps`` it grows linearly to 1 over the first half and
    stays there over the second; after ``steps`` it is 1.

    Args:
        steps: Number of steps of all cycles.
        cycles: Number of cycles.

    Raises:
        ValueError: There are fewer than two steps a cycle, or no cycle.
    """

    def __init__(self, steps: int, cycles: int = 4) -> None:
        if cycles < 1 or steps < 2 * cycles:
            raise ValueError(
                f"{cycles} cycles need {2 * max(1, cycles)} steps or more, not {steps}"
            )
        super().__init__(steps)
        self.cycles = cycles

    def _weight(self, taken: int) -> float:
        period = self.steps / self.cycles
        return min(1.0, 2 * (taken % period + 1) / period)
