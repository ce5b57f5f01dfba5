"""How far a fit has come, and how it goes on from there."""

from __future__ import annotations

import hashlib
import json
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vae4counts.inference.fitting.checkpoints import (
    VALUES,
    CheckpointError,
    Checkpoints,
    found,
    latest,
)
from vae4counts.inference.fitting.loop import EpochRecord, Training
from vae4counts.inference.fitting.nonfinite import NonFiniteError
from vae4counts.inference.fitting.signals import FitInterrupted, StopRequest, stop_requests
from vae4counts.inference.fitting.state import State, joined, part
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import random_state, set_random_state
from vae4counts.inference.run import storage
from vae4counts.models.config import Configured, description

# Settings that a fit can go on with others of: where it is computed, by more processes or fewer,
# and what is done about a step that is not finite.
FREE = ("device", "devices", "strategy", "non_finite", "clip_norm")


class Course:
    """The trainings of a fit, one after the other, with checkpoints.

    What a fit does, in which order, follows from its arguments and the numbers it finds. Taken up
    again, it goes the same way: a training that was finished gives its recorded history, work
    before the training that was under way is passed over, and that training goes on from its
    state.

    Args:
        pair: The model and its guide.
        device: Where the random numbers are drawn.
        subject: What is fitted to what and how, JSON values: a fit goes on only where they are
            the same.
        directory: Where to write checkpoints; None for none.
        every: Optimiser steps, or time, between two checkpoints.
        resume_from: The directory of checkpoints to go on from; None to begin.

    Raises:
        CheckpointError: The directory holds checkpoints of another fit, or none that is whole.
        OSError: The directory cannot be made.

    Warns:
        UserWarning: There is no checkpoint to go on from, or the last one is not whole.
    """

    def __init__(
        self,
        pair: nn.Module,
        device: torch.device,
        subject: Mapping[str, Any],
        directory: str | Path | None,
        every: int | timedelta,
        resume_from: str | Path | None,
    ) -> None:
        self.pair = pair
        self.device = device
        # as JSON gives it back
        self.subject: dict[str, Any] = json.loads(json.dumps(subject, default=str))
        self.started = time.perf_counter()
        self._histories: list[list[EpochRecord]] = []
        self._kept: dict[str, torch.Tensor] = {}
        self._resumed = None if resume_from is None else latest(Path(resume_from))
        if resume_from is not None and self._resumed is None:
            warnings.warn(f"{resume_from} holds no checkpoint: the fit begins", stacklevel=3)
        if self._resumed is not None:
            check_same(*self._resumed, self.subject)
        if directory is not None and directory != resume_from and found(Path(directory)):
            raise CheckpointError(
                f"{directory} holds checkpoints of a fit: go on from them with resume_from, "
                "name another directory, or remove it"
            )
        self._processes = Processes.here()
        self._directory = directory
        self._heeds_signals = directory is not None
        self._checkpoints = (
            Checkpoints(Path(directory), every)
            if directory is not None and self._processes.is_first
            else None
        )
        self._request = StopRequest()

    def __enter__(self) -> Course:
        """From now on, a signal to stop is heeded after a step."""
        self._signals: AbstractContextManager[Any] = (
            stop_requests() if self._heeds_signals else nullcontext(StopRequest())
        )
        self._request = self._signals.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._signals.__exit__(*error)

    @property
    def seconds(self) -> float:
        """How long the fit has taken, in all its processes."""
        return time.perf_counter() - self.started

    def once(self, work: Callable[[], object]) -> None:
        """Does work between trainings, unless it was done before the fit was taken up again."""
        if self._resumed is None:
            work()

    def keep(self) -> None:
        """Keeps the pair as it is, to come back to."""
        state = self.pair.state_dict()
        self.once(lambda: self._kept.update({name: v.clone() for name, v in state.items()}))

    def come_back(self) -> None:
        """Has the pair as it was kept."""
        self.once(lambda: self.pair.load_state_dict(self._kept))

    def train(
        self, make: Callable[[], Training], report: Callable[[EpochRecord], None]
    ) -> list[EpochRecord]:
        """Goes through a training, or what is left of it.

        Args:
            make: Makes the training, at its start.
            report: Called with each epoch's record, also of epochs that were trained before.

        Raises:
            CheckpointError: The state does not belong to this training.
            FitInterrupted: A signal has asked to stop.
            NonFiniteError: A step's loss or gradient is not finite; the state before it is saved.
        """
        history = self._recorded()
        if history is None:
            training = make()
            self._restore(training)
            history = training.history
            list(map(report, history))
            try:
                history = training.run(report, lambda: self._after_step(training))
            except NonFiniteError:
                if self._checkpoints is not None:
                    self._checkpoints.write(self._step(training), self._state(training))
                raise
        else:
            list(map(report, history))
        self._histories.append(history)
        return history

    def _recorded(self) -> list[EpochRecord] | None:
        """The history of the training that comes, if it was finished."""
        if self._resumed is None:
            return None
        path, state = self._resumed
        with storage.reading(path / VALUES):
            finished = state.values["histories"]
            if len(self._histories) == len(finished):
                return None
            return [EpochRecord(**row) for row in finished[len(self._histories)]]

    def _restore(self, training: Training) -> None:
        if self._resumed is None:
            return
        path, state = self._resumed
        with storage.reading(path / VALUES):
            self.pair.load_state_dict(part(state.tensors, "pair"))
            self._kept = part(state.tensors, "kept")
            own = State(state.values["training"], part(state.tensors, "training"))
            training.restore(own)
            self.started -= state.values["seconds"]
            chance = State(state.values["random"], part(state.tensors, "random"))
            set_random_state(chance, self.device)
        self._resumed = None

    def _after_step(self, training: Training) -> None:
        if not self._heeds_signals:
            return
        step = self._step(training)
        # several processes stop at the same step, or one would wait for the others
        asked = self._processes.highest(self._request.number or 0, self.device)
        written = False
        if self._checkpoints is not None and (asked or self._checkpoints.is_due(step)):
            written = self._checkpoints.write(step, self._state(training))
        if asked:
            is_saved = self._processes.highest(int(written), self.device)
            saved = f"the state is saved in {self._directory}"
            where = saved if is_saved else "the state could not be saved"
            raise FitInterrupted(asked, f"stopped after step {step}: {where}")

    def _step(self, training: Training) -> int:
        """Optimiser steps of the fit so far."""
        return sum(history[-1].step for history in self._histories) + training.steps

    def _state(self, training: Training) -> State:
        own, chance = training.state(), random_state(self.device)
        values = {
            "subject": self.subject,
            "seconds": self.seconds,
            "histories": [[asdict(record) for record in each] for each in self._histories],
            "training": own.values,
            "random": chance.values,
        }
        parts = {
            "pair": self.pair.state_dict(),
            "kept": self._kept,
            "training": own.tensors,
            "random": chance.tensors,
        }
        return State(values, joined(parts))


def described(
    model: Configured, guide: Configured, features: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What is fitted and how, as far as it makes a difference to the result on one machine."""
    return {
        "model": re.sub(" at 0x[0-9a-f]+", "", description(model)),
        "guide": re.sub(" at 0x[0-9a-f]+", "", description(guide)),
        "features": hashlib.sha256("\n".join(features).encode()).hexdigest(),
        **{name: value for name, value in settings.items() if name not in FREE},
    }


def check_same(path: Path, state: State, subject: Mapping[str, Any]) -> None:
    """Makes sure that a checkpoint is of this fit.

    Raises:
        CheckpointError: It is of another one; it says what differs.
    """
    with storage.reading(path / VALUES):
        saved = dict(state.values["subject"])
    names = [name for name in {**saved, **subject} if saved.get(name) != subject.get(name)]
    if names:
        differences = "; ".join(_difference(n, saved.get(n), subject.get(n)) for n in names)
        raise CheckpointError(f"{path} is of another fit: {differences}")


def _difference(name: str, there: Any, here: Any) -> str:
    """One line: two long values are only said to differ."""
    there, here = str(there), str(here)
    is_short = max(len(there), len(here)) <= 40
    return f"{name} was {there}, and is {here}" if is_short else f"{name} is not the same"
