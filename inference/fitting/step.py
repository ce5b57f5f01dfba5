"""One optimiser step: forward, backward, and what is done if the result is not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.inference.fitting.learning_rate import OneCycle
from vae4counts.inference.fitting.nonfinite import (
    SLOW_DOWN,
    Gradient,
    NonFiniteError,
    culprit,
    moments,
)
from vae4counts.inference.fitting.state import State, joined, part
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import set_torch_state, torch_state
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.models import Model

# Of Adam. A fit takes about a thousand steps: the second moments are to follow within a hundred.
BETAS = 0.9, 0.99


@dataclass(frozen=True)
class StepSettings:
    """How steps are taken.

    Attributes:
        learning_rate: Adam's highest.
        prior_learning_rate: Adam's highest for the prior's parameters.
        cycle: How both change from step to step.
        handlers: Effect handlers around every step.
        non_finite: See `Schedule`.
        clip_norm: See `Schedule`.
    """

    learning_rate: float
    prior_learning_rate: float
    cycle: OneCycle
    handlers: Sequence[Handler] = ()
    non_finite: str = "stop"
    clip_norm: float | None = None


class Steps:
    """Optimiser steps of a pair, and everything that they change beside its parameters.

    Args:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        settings: How steps are taken.

    Attributes:
        elbo: The pair's objective, a module that holds both.
        taken: Optimiser steps so far.
        kl_weight: The weight of the KL terms in the last step.
        slowing: By what the learning rates are multiplied, after steps that were not finite.
    """

    def __init__(self, fabric: Fabric, model: Model, guide: Guide, settings: StepSettings) -> None:
        self.fabric, self.model, self.guide, self.settings = fabric, model, guide, settings
        self.elbo = TraceEnum_ELBO(max_plate_nesting=1)(model, guide)
        self.objective, self.optimiser = fabric.setup(
            _Objective(self.elbo), _adam(self.elbo, settings)
        )
        self.optimiser.zero_grad()  # of whatever the pair did before
        self.processes = Processes.here()
        self.processes.agree(self.elbo)
        self.handlers = [copy.copy(handler) for handler in settings.handlers]
        self.gradient = Gradient(self.elbo, settings.clip_norm)
        self.moments = moments(self.elbo)
        self.taken = 0
        self.kl_weight = 0.0
        self.slowing = 1.0
        self.highest = [group["lr"] for group in self.optimiser.param_groups]

    def take(self, batch: Batch) -> Tensor | None:
        """Take a step on a batch, or on this process's part of one.

        Returns:
            The loss of the whole batch in nats per observation; None for a step that was skipped.

        Raises:
            NonFiniteError: The loss or gradient is not finite; all is as it was before the step.
        """
        random = torch_state(self.fabric.device)
        kept = [moment.clone() for moment in self.moments]
        with ExitStack() as around:
            around.enter_context(whole_noise(batch, self.elbo))
            for handler in self.handlers:
                around.enter_context(handler)
            loss = self.objective(lambda: batch)
        penalty = sum(handler.penalty() for handler in self.handlers)
        loss = (loss + penalty) / batch.n_observations
        # of a process's part, its share in the loss of the whole batch
        loss = loss * (batch.whole.n_rows / batch.whole.size)
        if loss.requires_grad:
            self.fabric.backward(loss)
        loss = self.processes.add_gradients(self.elbo, loss.detach())
        norm = self.gradient.norm()
        is_finite = math.isfinite((loss + norm).item())
        if is_finite:
            self.gradient.clip(norm)
            self._set_learning_rates()
            self.optimiser.step()
        self.optimiser.zero_grad()  # now, not later: the next forward pass needs the room
        if not is_finite:
            self._skip(batch, random, kept)
            return None
        self.kl_weight = math.prod(handler.kl_weight for handler in self.handlers)
        for handler in self.handlers:
            handler.step()
        self.taken += 1
        return loss

    @property
    def at_full_weight(self) -> bool:
        """Whether a step has been taken at the final objective, so that a state may be kept."""
        return all(handler.finished for handler in self.handlers)

    def state(self) -> State:
        """Return all that steps have changed except the pair and the random state, as it is now."""
        values = {
            "taken": self.taken,
            "kl_weight": self.kl_weight,
            "handlers": [handler.state() for handler in self.handlers],
            "slowing": self.slowing,
        }
        own = {str(number): each for number, each in self.optimiser.state_dict()["state"].items()}
        return State(values, joined(own))

    def restore(self, state: State) -> None:
        """Set a state that `state` returned.

        Raises:
            LookupError: A part of the state is missing.
            RuntimeError: It is of other parameters.
        """
        for name in ("taken", "kl_weight", "slowing"):
            setattr(self, name, state.values[name])
        for handler, own in zip(self.handlers, state.values["handlers"], strict=True):
            handler.restore(own)
        optimiser = self.optimiser.state_dict()
        numbers = {key.split(".")[0] for key in state.tensors}
        own = {int(number): part(state.tensors, number) for number in numbers}
        self.optimiser.load_state_dict({**optimiser, "state": own})

    def _set_learning_rates(self) -> None:
        share = self.slowing * self.settings.cycle.share(self.taken)
        for group, highest in zip(self.optimiser.param_groups, self.highest, strict=True):
            group["lr"] = share * highest

    def _skip(self, batch: Batch, random: dict[str, Tensor], kept: list[Tensor]) -> None:
        """Do what the settings ask for about a step that could not be taken.

        Args:
            batch: The step's batch.
            random: The random state before the step.
            kept: The moments of batch normalisation before the step.
        """
        stops = self.settings.non_finite == "stop"
        if stops:
            set_torch_state(random, self.fabric.device)
            what, rows = culprit(self.model, self.guide, batch)
            set_torch_state(random, self.fabric.device)
        # last, because looking for the culprit spoils them as the step has done
        for moment, before in zip(self.moments, kept, strict=True):
            moment.copy_(before)
        if stops:
            raise NonFiniteError(what, self.taken + 1, rows)
        if self.settings.non_finite == "slow":
            self.slowing *= SLOW_DOWN


class _Objective(nn.Module):
    """The negative ELBO of a batch that comes wrapped in a function.

    Fabric casts the floating point tensors of its arguments to the precision that it computes in;
    counts of more than 256 would lose digits in bfloat16.
    """

    def __init__(self, elbo: Any) -> None:
        super().__init__()
        self.elbo = elbo
        self.is_fixed = not any(each.requires_grad for each in elbo.parameters())

    def forward(self, batch: Callable[[], Batch]) -> Any:
        if self.is_fixed:  # there is no gradient to ask for
            loss = self.elbo.elbo.loss(self.elbo.model, self.elbo.guide, batch())
            return torch.tensor(loss, device=batch().index.device)
        return self.elbo(batch())


def _adam(elbo: nn.Module, settings: StepSettings) -> torch.optim.Adam:
    """Fused Adam, with a learning rate of its own for the prior."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in elbo.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("model.prior.")].append(parameter)
    rates = {False: settings.learning_rate, True: settings.prior_learning_rate}
    given = [{"params": groups[key], "lr": rates[key]} for key in groups if groups[key]]
    # an empty group for a pair that has nothing to train
    return torch.optim.Adam(given or [{"params": []}], betas=BETAS, fused=True)
