"""Steps whose loss or gradient is not finite: where that comes from, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import Model
from vae4counts.models.networks import BatchNorm, SparseLinear

ADVICE = "try a lower learning rate, clip_norm=10, or an encoder whose inputs are 'log1p'"
# So much slower goes on what a step was too fast for.
SLOWER = 0.5
# Observations that a message names.
NAMED = 5


class TrainingError(RuntimeError):
    """Training cannot go on."""


class NonFiniteError(TrainingError):
    """A step whose loss or gradient is not finite. It was not taken.

    Attributes:
        what: What is not finite, in words.
        step: The number of the step.
        rows: The observations that it comes from, as positions among those trained on; of a
            gradient, all of the batch.
    """

    def __init__(
        self, what: str, step: int, rows: Sequence[int], names: Sequence[str] | None = None
    ) -> None:
        self.what, self.step, self.rows = what, step, list(rows)
        named = [f"{row}" if names is None else f"{names[row]!r}" for row in self.rows[:NAMED]]
        more = f" and {len(self.rows) - NAMED} more" if len(self.rows) > NAMED else ""
        super().__init__(
            f"{what} is not finite in step {step}, for the observations {', '.join(named)}{more}: "
            f"{ADVICE}"
        )

    def naming(self, names: Sequence[str]) -> NonFiniteError:
        """The same, with the names of the observations that are trained on."""
        return NonFiniteError(self.what, self.step, self.rows, names)


class Gradient:
    """The gradient of a module's parameters: whether it is finite, and cut to a length.

    The gradient of a linear layer's weight is that of its outputs times its inputs: where it is not
    finite, neither is what goes on to the bias beside it, or to the layers before. Where nothing
    has to be cut, these large matrices are not looked at, and the look costs next to nothing.

    Args:
        module: Whose parameters.
        clip_norm: The length, in nats per observation; None to cut nothing.
    """

    def __init__(self, module: nn.Module, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm
        self.parameters = [each for each in module.parameters() if each.requires_grad]
        layers = [each for each in module.modules() if isinstance(each, (nn.Linear, SparseLinear))]
        passed_over = {id(each.weight) for each in layers} if clip_norm is None else set()
        self.looked_at = [each for each in self.parameters if id(each) not in passed_over]

    def is_finite(self) -> bool:
        """Whether all of it is; if so, it is cut."""
        norm = torch.nn.utils.get_total_norm(
            [each.grad for each in self.looked_at if each.grad is not None]
        )
        if not math.isfinite(norm.item()):
            return False
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        return True


def culprit(model: Model, guide: Guide, batch: Batch) -> tuple[str, list[int]]:
    """What of a step is not finite, and for which observations.

    Args:
        model: The model, as it was in the step.
        guide: Its guide.
        batch: The step's batch, or this process's part of it. The random state is that before the
            step, so that the same is drawn again.
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


def slow_down(optimiser: torch.optim.Optimizer) -> None:
    """Halves all learning rates."""
    for group in optimiser.param_groups:
        group["lr"] *= SLOWER


def moments(module: nn.Module) -> list[Tensor]:
    """What a forward pass changes in training, spoilt by one that is not finite."""
    return [b for each in module.modules() if isinstance(each, BatchNorm) for b in each.buffers()]
