"""The SVI loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import torch
from lightning_fabric import Fabric
from pyro.infer import TraceEnum_ELBO
from torch import nn

from vae4counts.data import Batch, CountLoader, Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import KLWarmUp, Tempering
from vae4counts.inference.fitting.nonfinite import (
    ADVICE,
    Gradient,
    NonFinite,
    NonFiniteError,
    TrainingError,
    culprit,
    moments,
    slow_down,
)
from vae4counts.inference.fitting.state import State, joined, part
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import own_randomness, set_torch_state, torch_state
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, draw
from vae4counts.models import Model

# What a training changes that is a number.
VALUES = (
    "epoch",
    "taken",
    "steps",
    "skipped",
    "seen",
    "seconds",
    "kl_weight",
    "best",
    "best_epoch",
)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Most passes over the training observations.
        batch_size: Observations a step.
        learning_rate: Adam's.
        prior_learning_rate: Adam's for the prior's parameters, which see a gradient only through
            ``z`` and would lag behind the networks.
        warm_up_steps: Steps over which the KL weight grows to 1.
        patience: Epochs without a better validation ELBO, at full KL weight, before stopping.
        phase: What the history calls it.
        tempering: Further handlers around every step.
        non_finite: What to do about a step whose loss or gradient is not finite: "stop", "skip"
            the batch and count it, or skip it and halve the learning rates ("slow").
        clip_norm: Length to cut the gradient to; None for no cut.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    prior_learning_rate: float = 1e-2
    warm_up_steps: int = 0
    patience: int = 30
    phase: str = "full"
    tempering: tuple[Tempering, ...] = ()
    non_finite: NonFinite = "stop"
    clip_norm: float | None = None


@dataclass(frozen=True)
class EpochRecord:
    """A row of the training history.

    Attributes:
        phase: What was trained: "plain" for a mixture's warm start, "restart" for a short fit to
            choose from, else "full".
        epoch: Number of the epoch in its phase, from 1.
        step: Optimiser steps so far.
        kl_weight: KL weight of the epoch's last step.
        train_elbo: Mean of the (tempered) objective over the epoch, in nats per observation.
        validation_elbo: ELBO of the validation observations at full KL weight.
        validation_reconstruction: The part of it that the site ``"counts"`` holds.
        seconds: Seconds that the epoch's training took, validation left out.
        skipped: Batches that were skipped, as their loss or gradient was not finite.
    """

    phase: str
    epoch: int
    step: int
    kl_weight: float
    train_elbo: float
    validation_elbo: float
    validation_reconstruction: float
    seconds: float
    skipped: int = 0


class Training:
    """The training of a pair by Adam: everything that its steps change, and how one is taken.

    Args:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        training: Training observations, on the fabric's device.
        validation: Validation observations, on the fabric's device.
        schedule: How long and how fast.
        seed: Seed of the order of the observations.

    Attributes:
        epoch: The epoch that is under way, or comes next, from 1.
        taken: Batches of that epoch that have been stepped on.
        steps: Optimiser steps so far.
        skipped: Batches of that epoch that were skipped.
        seen: Observations of that epoch that were not.
        history: A record of each finished epoch.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        guide: Guide,
        training: Counts,
        validation: Counts,
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.fabric = fabric
        self.model, self.guide = model, guide
        self.validation = validation
        self.schedule = schedule
        self.elbo = TraceEnum_ELBO(max_plate_nesting=1)(model, guide)
        self.objective, self.optimiser = fabric.setup(
            _Objective(self.elbo), _optimiser(self.elbo, schedule)
        )
        self.optimiser.zero_grad()  # of whatever the pair did before
        self.processes = Processes.here()
        self.processes.agree(self.elbo)
        self.loader = CountLoader(
            training, batch_size=schedule.batch_size, seed=seed, share=self.processes.share
        )
        self.handlers = [KLWarmUp(schedule.warm_up_steps), *map(copy.copy, schedule.tempering)]
        self.gradient = Gradient(self.elbo, schedule.clip_norm)
        self.moments = moments(self.elbo)
        self.epoch, self.taken, self.steps, self.seconds = 1, 0, 0, 0.0
        self.skipped = self.seen = 0
        self.total = torch.zeros((), device=fabric.device)  # of the epoch's losses
        self.kl_weight = 0.0
        self.history: list[EpochRecord] = []
        self.best, self.best_epoch = -math.inf, 0
        self.best_state: dict[str, torch.Tensor] = {}

    def run(
        self, report: Callable[[EpochRecord], None], after_step: Callable[[], None]
    ) -> list[EpochRecord]:
        """Maximises the ELBO and leaves the pair at its best validation ELBO at full KL weight.

        Args:
            report: Called with each epoch's record.
            after_step: Called after each step.

        Returns:
            The history, a record an epoch.

        Raises:
            NonFiniteError: The loss or gradient of a step is not finite.
            TrainingError: No batch of an epoch has a finite loss, or no epoch a finite ELBO.
        """
        while not self.finished:
            self._rest_of_epoch(after_step)
            report(self._end_of_epoch())
        if self.best_state:
            self.elbo.load_state_dict(self.best_state)
        elif not math.isfinite(self.history[-1].validation_elbo):
            value = self.history[-1].validation_elbo
            raise TrainingError(f"the validation ELBO is {value}: {ADVICE}")
        return self.history

    @property
    def finished(self) -> bool:
        """Whether all epochs are over, or enough of them were no better than the best."""
        waited = self.epoch - 1 - self.best_epoch
        is_patient = not self.best_state or waited < self.schedule.patience
        return self.epoch > self.schedule.epochs or not is_patient

    def step(self, batch: Batch) -> None:
        """Takes one optimiser step, on a batch or this process's part of one.

        Raises:
            NonFiniteError: Its loss or gradient is not finite; all is as it was before it.
        """
        chance = torch_state(self.fabric.device)
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
        self.fabric.backward(loss)
        loss = self.processes.add_gradients(self.elbo, loss.detach())
        is_finite = math.isfinite(loss.item()) and self.gradient.is_finite()
        if is_finite:
            self.optimiser.step()
        self.optimiser.zero_grad()  # now, not later: the next forward pass needs the room
        if not is_finite:
            self._pass_over(batch, chance, kept)
            return
        self.kl_weight = math.prod(handler.kl_weight for handler in self.handlers)
        for handler in self.handlers:
            handler.step()
        self.total += loss * batch.whole.size
        self.seen += batch.whole.size
        self.steps += 1
        self.taken += 1

    def _pass_over(
        self, batch: Batch, chance: dict[str, torch.Tensor], kept: list[torch.Tensor]
    ) -> None:
        """Does what is asked for about a step that could not be taken.

        Args:
            batch: The step's.
            chance: The random state before it.
            kept: The moments of batch normalisation before it.
        """
        if self.schedule.non_finite == "stop":
            set_torch_state(chance, self.fabric.device)
            what, rows = culprit(self.model, self.guide, batch)
            set_torch_state(chance, self.fabric.device)
        # last, as looking for the culprit spoils them as the step has done
        for moment, before in zip(self.moments, kept, strict=True):
            moment.copy_(before)
        if self.schedule.non_finite == "stop":
            raise NonFiniteError(what, self.steps + 1, rows)
        if self.schedule.non_finite == "slow":
            slow_down(self.optimiser)
        self.skipped += 1
        self.taken += 1

    def _rest_of_epoch(self, after_step: Callable[[], None]) -> None:
        started = time.perf_counter() - self.seconds
        self.elbo.train()
        for batch in self.loader.epoch(self.epoch, self.taken):
            self.step(batch)
            self.seconds = time.perf_counter() - started
            after_step()

    def _end_of_epoch(self) -> EpochRecord:
        self.processes.agree(self.elbo)  # on the moments of batch normalisation
        if not self.seen:
            raise TrainingError(f"no batch of epoch {self.epoch} had a finite loss: {ADVICE}")
        train_elbo = -self.total.item() / self.seen
        parts = validation_parts(self.model, self.guide, self.validation)
        record = EpochRecord(
            phase=self.schedule.phase,
            epoch=self.epoch,
            step=self.steps,
            kl_weight=self.kl_weight,
            train_elbo=train_elbo,
            validation_elbo=sum(parts.values()),
            validation_reconstruction=parts["counts"],
            seconds=self.seconds,
            skipped=self.skipped,
        )
        self.history.append(record)
        tempered = not all(handler.finished for handler in self.handlers)
        if not tempered and record.validation_elbo > self.best:
            self.best, self.best_epoch = record.validation_elbo, self.epoch
            # one at a time: the states before and after never take memory together
            self.best_state.update((name, v.clone()) for name, v in self.elbo.state_dict().items())
        self.epoch, self.taken, self.seconds = self.epoch + 1, 0, 0.0
        self.skipped = self.seen = 0
        self.total.zero_()
        return record

    def state(self) -> State:
        """All that the steps have changed but the pair and the random state, as it is now."""
        optimiser = self.optimiser.state_dict()
        values = {name: getattr(self, name) for name in VALUES}
        values |= {
            "history": [asdict(record) for record in self.history],
            "handlers": [handler.state() for handler in self.handlers],
            "learning_rates": [group["lr"] for group in optimiser["param_groups"]],
        }
        moments = {
            f"{number}.{name}": value
            for number, own in optimiser["state"].items()
            for name, value in own.items()
        }
        parts = {"optimiser": moments, "best": self.best_state}
        return State(values, {"total": self.total, **joined(parts)})

    def restore(self, state: State) -> None:
        """Goes back to (or on to) a state; the schedule and the data must be those it had.

        Raises:
            LookupError: A part of the state is missing.
            RuntimeError: It is of other parameters.
        """
        for name in VALUES:
            setattr(self, name, state.values[name])
        self.history = [EpochRecord(**row) for row in state.values["history"]]
        for handler, own in zip(self.handlers, state.values["handlers"], strict=True):
            handler.restore(own)
        optimiser = self.optimiser.state_dict()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in part(state.tensors, "optimiser").items():
            number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
        rates = state.values["learning_rates"]
        for group, rate in zip(optimiser["param_groups"], rates, strict=True):
            group["lr"] = rate
        self.optimiser.load_state_dict({**optimiser, "state": moments})
        self.total.copy_(state.tensors["total"])
        self.best_state = part(state.tensors, "best")


class _Objective(nn.Module):
    """The negative ELBO of a batch that comes wrapped in a function.

    Fabric casts the floating point tensors of its arguments to the precision that it computes in;
    counts of more than 256 would lose digits in bfloat16.
    """

    def __init__(self, elbo: nn.Module) -> None:
        super().__init__()
        self.elbo = elbo

    def forward(self, batch: Callable[[], Batch]) -> torch.Tensor:
        return self.elbo(batch())


def _optimiser(elbo: nn.Module, schedule: Schedule) -> torch.optim.Adam:
    """Adam, fused, with a learning rate of its own for the prior."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in elbo.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("model.prior.")].append(parameter)
    rates = {False: schedule.learning_rate, True: schedule.prior_learning_rate}
    return torch.optim.Adam(
        [{"params": groups[key], "lr": rates[key]} for key in groups if groups[key]], fused=True
    )


def validation_parts(model: Model, guide: Guide, counts: Counts) -> dict[str, float]:
    """Each site's share of the ELBO, means per observation in nats, by one draw each.

    The draws are the same at every call, so that the values of two epochs can be compared.
    """
    model.eval()
    guide.eval()
    processes = Processes.here()
    totals: dict[str, float] = {}
    batch_size = max(1, min(1024, CHUNK_NUMBERS // model.numbers_per_draw))
    with own_randomness(counts.device, seed=0):
        loader = CountLoader(counts, batch_size=batch_size, shuffle=False, share=processes.share)
        for batch in loader:
            with whole_noise(batch):
                parts = draw(model, guide, batch, 1).elbo_parts()
            for name, part in parts.items():
                own = part[: batch.whole.n_rows].sum().item()
                totals[name] = totals.get(name, 0.0) + own
    sums = torch.tensor(list(totals.values()), dtype=torch.float64, device=counts.device)
    means = processes.sum(sums) / len(counts)
    return dict(zip(totals, means.tolist(), strict=True))
