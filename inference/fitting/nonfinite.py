"""Steps whose loss or gradient is not finite: where that comes from, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import Model
from vae4counts.models.networks import BatchNorm

ADVICE = "try a lower learning rate, clip_norm=10, or an encoder whose inputs are 'log1p'"
# The factor by which "slow" multiplies the learning rates.
SLOW_DOWN = 0.5
# How many observations a message names.
MAX_NAMED = 5


class TrainingError(RuntimeError):
    """Training cannot continue."""


class NonFiniteError(TrainingError):
    """A step whose loss or gradient is not finite. It was not taken.

    Attributes:
        what: What is not finite, in words.
        step: The number of the step.
        rows: The observations that cause it, as positions among the training observations; for a
            gradient, all of the batch.
    """

    def __init__(
        self, what: str, step: int, rows: Sequence[int], names: Sequence[str] | None = None
    ) -> None:
        self.what, self.step, self.rows = what, step, list(rows)
        named = [f"{row}" if names is None else f"{names[row]!r}" for row in self.rows[:MAX_NAMED]]
        more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
        super().__init__(
            f"{what} is not finite in step {step}, for the observations {', '.join(named)}{more}: "
            f"{ADVICE}"
        )

    def naming(self, names: Sequence[str]) -> NonFiniteError:
        """Return the same error with the names of the training observations."""
        return NonFiniteError(self.what, self.step, self.rows, names)


class Gradient:
    """The gradient of a module's parameters: its length, and clipping to one.

    Args:
        module: The module.
        clip_norm: Length to clip to, in nats per observation; None for no clipping.
    """

    def __init__(self, module: nn.Module, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm
        self.parameters = [each for each in module.parameters() if each.requires_grad]

    def norm(self) -> Tensor:
        """Return its length, which is finite if all of it is."""
        return torch.nn.utils.get_total_norm(
            [each.grad for each in self.parameters if each.grad is not None]
        )

    def clip(self, norm: Tensor) -> None:
        """Clip it, if that is asked for.

        Args:
            norm: Its length.
        """
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)


def culprit(model: Model, guide: Guide, batch: Batch) -> tuple[str, list[int]]:
    """Return what is not finite in a step, and for which observations.

    Args:
        model: The model, as it was in the step.
        guide: Its guide.
        batch: The step's batch, or this process's part of it. The random state must be that before
            the step, so that the same numbers are drawn again.

    Returns:
        What is not finite, in words, and positions among the training observations.
    """
    every = batch.index[: batch.whole.n_rows].tolist()
    try:
        with whole_noise(batch, model, guide):
            draws = draw(model, guide, batch, 1)
    except (RuntimeError, ValueError):  # what is not finite cannot even be drawn from
        return "a distribution", every
    for role, sites in (("guide", draws.log_guide), ("model", draws.log_model)):
        for name, value in sites.items():
            bad = ~value[0, : batch.whole.n_rows].isfinite()
            if bad.any():
                rows = batch.index[: batch.whole.n_rows][bad].tolist()
                return f"the log-probability of {name!r} in the {role}", rows
    return "the gradient", every


def moments(module: nn.Module) -> list[Tensor]:
    """Return the tensors that every forward pass of training changes, even one that fails."""
    return [b for each in module.modules() if isinstance(each, BatchNorm) for b in each.buffers()]
