"""How far a fit has come, and how it continues from there."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vae4counts.data.warning import warn
from vae4counts.inference.fitting.checkpoints import (
    VALUES,
    CheckpointError,
    CheckpointFiles,
    found,
    latest,
)
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.loop import TrainingLoop
from vae4counts.inference.fitting.nonfinite import NonFiniteError
from vae4counts.inference.fitting.options import Checkpoints
from vae4counts.inference.fitting.progress import Report
from vae4counts.inference.fitting.signals import FitInterrupted, StopRequest, stop_requests
from vae4counts.inference.fitting.state import State, joined, part
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import random_state, set_random_state
from vae4counts.inference.run import storage
from vae4counts.models.config import Configured, description

log = logging.getLogger(__name__)

# Settings that may differ when a fit continues: where it is computed, by how many processes and
# threads, and what is done about a step that is not finite.
FREE_SETTINGS = (
    "device",
    "compute.devices",
    "compute.threads",
    "schedule.non_finite",
    "schedule.clip_norm",
)


class ResumableFit:
    """The trainings of a fit, one after the other, with checkpoints.

    What a fit does, in which order, follows from its options and the numbers it finds. When it is
    resumed it makes the same calls: a training that had finished returns its recorded history, work
    before the training that was under way is skipped, and that training continues from its state.

    Args:
        pair: The model and its guide.
        device: Where the random numbers are drawn.
        subject: What is fitted to what and how, JSON values: a fit continues only where they are
            the same.
        checkpoints: Where checkpoints are; None for none.

    Raises:
        CheckpointError: The directory holds checkpoints of another fit, or none that is whole.
        OSError: The directory cannot be made.

    Warns:
        UserWarning: There is no checkpoint to continue from, the last one is not whole, or it is of
            a fit with another number of threads.
    """

    def __init__(
        self,
        pair: nn.Module,
        device: torch.device,
        subject: Mapping[str, Any],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.pair = pair
        self.device = device
        # as JSON gives it back
        self.subject: dict[str, Any] = json.loads(json.dumps(subject, default=str))
        self.started = time.perf_counter()
        self._histories: list[list[EpochRecord]] = []
        self._kept: dict[str, torch.Tensor] = {}
        self._resumed = None if checkpoints is None else self._find(checkpoints)
        self._processes = Processes.here()
        self._directory = None if checkpoints is None else Path(checkpoints.directory)
        self._files = (
            CheckpointFiles(Path(checkpoints.directory), checkpoints.every)
            if checkpoints is not None and self._processes.is_first
            else None
        )
        self._request = StopRequest()

    def __enter__(self) -> ResumableFit:
        """From now on, a signal to stop is obeyed after a step."""
        self._signals: AbstractContextManager[StopRequest] = (
            nullcontext(StopRequest()) if self._directory is None else stop_requests()
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
        """Do work between trainings, unless it was done before the fit was resumed."""
        if self._resumed is None:
            work()

    def keep(self) -> None:
        """Keep the pair as it is, to return to."""
        state = self.pair.state_dict()
        self.once(lambda: self._kept.update({name: v.clone() for name, v in state.items()}))

    def return_to_kept(self) -> None:
        """Set the pair as it was kept."""
        self.once(lambda: self.pair.load_state_dict(self._kept))

    def train(
        self,
        make: Callable[[], TrainingLoop],
        watch: Callable[[float], AbstractContextManager[Report]],
    ) -> list[EpochRecord]:
        """Run a training, or what is left of it.

        Args:
            make: Makes the training, at its start.
            watch: Called with the number of epochs that were done before; gives what to call as
                training proceeds.

        Raises:
            CheckpointError: The state does not belong to this training.
            FitInterrupted: A signal has asked to stop.
            NonFiniteError: A step's loss or gradient is not finite; the state before it is saved.
        """
        history = self._recorded()
        if history is None:
            training = make()
            self._restore(training)
            with watch(training.epochs_done) as report:
                history = self._run(training, report)
        else:
            with watch(len(history)) as report:
                report(history, len(history))
        self._histories.append(history)
        return history

    def _run(self, training: TrainingLoop, report: Report) -> list[EpochRecord]:
        def tell() -> None:
            report(training.history, training.epochs_done)

        def after_step() -> None:
            tell()
            self._save_if_due(training)

        tell()
        try:
            history = training.run(tell, after_step)
        except NonFiniteError:
            if self._files is not None:
                self._files.write(self._step(training), self._state(training))
            raise
        self._save_if_due(training, is_last=True)
        return history

    def _find(self, checkpoints: Checkpoints) -> tuple[Path, State] | None:
        """The checkpoint to continue from, after checking that it is of this fit."""
        directory = Path(checkpoints.directory)
        if not checkpoints.resume:
            if found(directory):
                raise CheckpointError(
                    f"{directory} holds checkpoints of a fit: continue from them with resume=True, "
                    "name another directory, or remove it"
                )
            return None
        resumed = latest(directory)
        if resumed is None:
            warn(f"{directory} holds no checkpoint: the fit begins")
        else:
            check_same(*resumed, self.subject)
            log.info("the fit continues from %s", resumed[0])
        return resumed

    def _recorded(self) -> list[EpochRecord] | None:
        """The history of the next training, if it had finished."""
        if self._resumed is None:
            return None
        path, state = self._resumed
        with storage.reading(path / VALUES):
            finished = state.values["histories"]
            if len(self._histories) == len(finished):
                return None
            return [EpochRecord(**row) for row in finished[len(self._histories)]]

    def _restore(self, training: TrainingLoop) -> None:
        if self._resumed is None:
            return
        path, state = self._resumed
        with storage.reading(path / VALUES):
            self.pair.load_state_dict(part(state.tensors, "pair"))
            self._kept = part(state.tensors, "kept")
            own = State(state.values["training"], part(state.tensors, "training"))
            training.restore(own)
            self.started -= state.values["seconds"]
            threads = state.values["threads"]
            set_random_state(state.values["random"], part(state.tensors, "random"), self.device)
        self._resumed = None
        if threads != torch.get_num_threads():
            warn(
                f"the number of threads was {threads}, and is {torch.get_num_threads()}: the "
                "result may differ in its last digits from that of an uninterrupted fit"
            )

    def _save_if_due(self, training: TrainingLoop, *, is_last: bool = False) -> None:
        """Save the state when it is due, or asked for, and stop if a signal has asked for that."""
        if self._directory is None:
            return
        step = self._step(training)
        # several processes stop at the same step, or one would wait for the others
        asked = self._processes.highest(self._request.number or 0, self.device)
        written = False
        if self._files is not None and (asked or is_last or self._files.is_due(step)):
            written = self._files.write(step, self._state(training))
        if asked:
            is_saved = self._processes.highest(int(written), self.device)
            saved = f"the state is saved in {self._directory}"
            where = saved if is_saved else "the state could not be saved"
            raise FitInterrupted(asked, f"stopped after step {step}: {where}")

    def _step(self, training: TrainingLoop) -> int:
        """Optimiser steps of the fit so far."""
        return sum(history[-1].step for history in self._histories) + training.steps.taken

    def _state(self, training: TrainingLoop) -> State:
        own = training.state()
        random_values, random_tensors = random_state(self.device)
        values = {
            "subject": self.subject,
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
            "histories": [[asdict(record) for record in each] for each in self._histories],
            "training": own.values,
            "random": random_values,
        }
        parts = {
            "pair": self.pair.state_dict(),
            "kept": self._kept,
            "training": own.tensors,
            "random": random_tensors,
        }
        return State(values, joined(parts))


def subject_of(
    model: Configured,
    guide: Configured,
    features: Sequence[str],
    fingerprint: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe what is fitted to what and how, if it makes a difference to the result."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        group = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}" if key else name: own for key, own in group.items()}
    return {
        "model": re.sub(" at 0x[0-9a-f]+", "", description(model)),
        "guide": re.sub(" at 0x[0-9a-f]+", "", description(guide)),
        "features": hashlib.sha256("\n".join(features).encode(errors="surrogatepass")).hexdigest(),
        "data": fingerprint,
        **{name: value for name, value in flat.items() if name not in FREE_SETTINGS},
    }


def check_same(path: Path, state: State, subject: Mapping[str, Any]) -> None:
    """Make sure that a checkpoint is of this fit.

    Raises:
        CheckpointError: It is of another one; it says what differs.
    """
    with storage.reading(path / VALUES):
        saved = dict(state.values["subject"])
    names = [name for name in {**saved, **subject} if saved.get(name) != subject.get(name)]
    if names:
        differences = "; ".join(_difference(n, saved.get(n), subject.get(n)) for n in names)
        raise CheckpointError(f"{path} is of another fit: {differences}")


def _difference(name: str, saved: Any, own: Any) -> str:
    """One line: two long values are only said to differ."""
    saved, own = str(saved), str(own)
    is_short = max(len(saved), len(own)) <= 40
    return f"{name} was {saved}, and is {own}" if is_short else f"{name} is not the same"
