"""The SVI loop: epochs of steps, each followed by a look at the validation observations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from lightning_fabric import Fabric

from vae4counts.data import CountLoader, Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import KLWarmUp
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.nonfinite import ADVICE, TrainingError
from vae4counts.inference.fitting.state import State, joined, part
from vae4counts.inference.fitting.step import Steps, StepSettings
from vae4counts.inference.fitting.subsets import SubsetExperts
from vae4counts.inference.fitting.validation import validation_parts
from vae4counts.models import Model

# The numbers that an epoch under way changes.
NUMBERS = ("epoch", "batches", "skipped", "seen", "seconds", "best", "best_epoch")


@dataclass(frozen=True)
class Phase:
    """One training from its first epoch to its last.

    Attributes:
        name: What the history calls it.
        epochs: Most passes over the training observations.
        batch_size: Observations per step.
        warm_up_steps: Steps over which the KL weight grows to 1.
        patience: Epochs without a better validation ELBO, at full KL weight, before stopping.
        steps: How steps are taken.
    """

    name: str
    epochs: int
    batch_size: int
    warm_up_steps: int
    patience: int
    steps: StepSettings

    def split_after(self, epochs: int, steps_per_epoch: int) -> tuple[Phase, Phase]:
        """Split into a first training and one that continues its cycle of the learning rate.

        The KL warm-up belongs to the first, and takes at most half of it.
        """
        steps = epochs * steps_per_epoch
        first = replace(self, epochs=epochs, warm_up_steps=min(self.warm_up_steps, steps // 2))
        rest = replace(
            self,
            epochs=self.epochs - epochs,
            warm_up_steps=0 if epochs else self.warm_up_steps,
            steps=replace(self.steps, cycle=self.steps.cycle.after(steps)),
        )
        return first, rest


class TrainingLoop:
    """The training of a pair through one phase.

    Args:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        training: Training observations, on the fabric's device.
        validation: Validation observations, on the fabric's device.
        phase: How long and how fast.
        seed: Seed of the order of the observations.

    Attributes:
        epoch: The epoch that is under way, or comes next, from 1.
        batches: Batches of that epoch that are done, skipped ones among them.
        skipped: Batches of that epoch that were skipped.
        seen: Observations of that epoch in the others.
        history: A record of each finished epoch.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        guide: Guide,
        training: Counts,
        validation: Counts,
        phase: Phase,
        seed: int,
    ) -> None:
        self.model, self.guide = model, guide
        self.validation, self.phase = validation, phase
        handlers = (KLWarmUp(phase.warm_up_steps), SubsetExperts(), *phase.steps.handlers)
        self.steps = Steps(fabric, model, guide, replace(phase.steps, handlers=handlers))
        self.elbo, self.processes = self.steps.elbo, self.steps.processes
        self.loader = CountLoader(
            training, batch_size=phase.batch_size, seed=seed, share=self.processes.share
        )
        self.epoch, self.batches, self.seconds = 1, 0, 0.0
        self.skipped = self.seen = 0
        self.total = torch.zeros((), device=fabric.device)  # of the epoch's losses
        self.history: list[EpochRecord] = []
        self.best, self.best_epoch = -math.inf, 0
        self.best_state: dict[str, torch.Tensor] = {}

    def run(self, report: Callable[[], None], after_step: Callable[[], None]) -> list[EpochRecord]:
        """Maximise the ELBO and leave the pair at its best validation ELBO at full KL weight.

        Args:
            report: Called after each epoch.
            after_step: Called after each step.

        Returns:
            The history, a record per epoch.

        Raises:
            NonFiniteError: The loss or gradient of a step is not finite.
            TrainingError: No batch of an epoch has a finite loss, or no epoch a finite ELBO.
        """
        while not self.is_finished:
            self._train_epoch(after_step)
            record = self._validate()
            self._keep_best(record)
            self._next_epoch()
            report()
        if self.best_state:
            self.elbo.load_state_dict(self.best_state)
        elif not math.isfinite(self.history[-1].validation_elbo):
            value = self.history[-1].validation_elbo
            raise TrainingError(f"the validation ELBO is {value}: {ADVICE}")
        return self.history

    @property
    def epochs_done(self) -> float:
        """Epochs that are done, and the share of the one that is under way.

        The look at the validation observations, with which an epoch ends, counts as a step.
        """
        return self.epoch - 1 + self.batches / (len(self.loader) + 1)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are over, or enough of them were no better than the best."""
        waited = self.epoch - 1 - self.best_epoch
        is_patient = not self.best_state or waited < self.phase.patience
        return self.epoch > self.phase.epochs or not is_patient

    def _train_epoch(self, after_step: Callable[[], None]) -> None:
        """Take the steps of an epoch, or those that are left of it."""
        started = time.perf_counter() - self.seconds
        self.elbo.train()
        for batch in self.loader.epoch(self.epoch, self.batches):
            loss = self.steps.take(batch)
            self.batches += 1
            if loss is None:
                self.skipped += 1
            else:
                self.total += loss * batch.whole.size
                self.seen += batch.whole.size
            self.seconds = time.perf_counter() - started
            after_step()

    def _validate(self) -> EpochRecord:
        """Measure the validation ELBO and write the epoch down."""
        self.processes.agree(self.elbo)  # on the moments of batch normalisation
        if not self.seen:
            raise TrainingError(f"no batch of epoch {self.epoch} had a finite loss: {ADVICE}")
        parts = validation_parts(self.model, self.guide, self.validation)
        record = EpochRecord(
            phase=self.phase.name,
            epoch=self.epoch,
            step=self.steps.taken,
            kl_weight=self.steps.kl_weight,
            train_elbo=-self.total.item() / self.seen,
            validation_elbo=sum(parts.values()),
            validation_reconstruction=sum(parts[name] for name in self.model.tables),
            seconds=self.seconds,
            skipped=self.skipped,
        )
        self.history.append(record)
        return record

    def _keep_best(self, record: EpochRecord) -> None:
        elbo = record.validation_elbo
        if self.steps.at_full_weight and math.isfinite(elbo) and elbo > self.best:
            self.best, self.best_epoch = elbo, self.epoch
            # one at a time: the states before and after never take memory together
            self.best_state.update((name, v.clone()) for name, v in self.elbo.state_dict().items())

    def _next_epoch(self) -> None:
        self.epoch, self.batches, self.seconds = self.epoch + 1, 0, 0.0
        self.skipped = self.seen = 0
        self.total.zero_()

    def state(self) -> State:
        """Return all that training has changed except the pair and the random state."""
        steps = self.steps.state()
        values = {name: getattr(self, name) for name in NUMBERS}
        values |= {"history": [asdict(record) for record in self.history], "steps": steps.values}
        tensors = joined({"steps": steps.tensors, "best": self.best_state})
        return State(values, {"total": self.total, **tensors})

    def restore(self, state: State) -> None:
        """Set a state that `state` returned; the phase and the data must be those it had.

        Raises:
            LookupError: A part of the state is missing.
            RuntimeError: It is of other parameters.
        """
        for name in NUMBERS:
            setattr(self, name, state.values[name])
        self.history = [EpochRecord(**row) for row in state.values["history"]]
        self.steps.restore(State(state.values["steps"], part(state.tensors, "steps")))
        self.total.copy_(state.tensors["total"])
        self.best_state = part(state.tensors, "best")
