"""What is told of a fit while it runs: on the screen, in the log, and to a logger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vae4counts.data.progress.task import Task
from vae4counts.data.progress.work import shown
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.logger import LoggedHistory, Logger, check_logger
from vae4counts.inference.fitting.options import truth

log = logging.getLogger(__name__)

Report = Callable[[Sequence[EpochRecord], float], None]
"""Takes the history of a training so far, and how many epochs are done: 12.5 in the thirteenth."""


@dataclass(frozen=True)
class Progress:
    """Where it is said how far training has come, see `fit`.

    Attributes:
        visible: Whether to say it on the screen, which is standard error.
        logger: What writes the history down as it grows; None for nothing.

    Raises:
        SettingsError: A value is of another type.
    """

    visible: bool = True
    logger: Logger | None = None

    def __post_init__(self) -> None:
        truth("progress", self.visible)
        if self.logger is not None:
            check_logger(self.logger)


SILENT = Progress(visible=False)


class WatchedFit:
    """A fit whose trainings are shown as they proceed.

    Args:
        progress: Where.
    """

    def __init__(self, progress: Progress) -> None:
        self._visible, self._history = progress.visible, LoggedHistory(progress.logger)

    def __enter__(self) -> WatchedFit:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._history.close("success" if kind is None else "failed")

    @contextmanager
    def training(self, title: str, epochs: int, done: float) -> Iterator[Report]:
        """Watch a training.

        Args:
            title: What to call it.
            epochs: The most epochs that it takes.
            done: How many of them were done before.

        Yields:
            What to call as training proceeds, also with the epochs that were done before.
        """
        task = Task(title, "epochs", epochs, done, is_long=True)
        told: list[EpochRecord] = []
        with shown(task, visible=self._visible) as view:

            def report(history: Sequence[EpochRecord], done: float) -> None:
                for record in history[len(told) :]:
                    told.append(record)
                    task.note = _elbos(record)
                    self._history.add(record)
                    log.debug("%s: epoch %d, %s", title, record.epoch, task.note)
                task.done = done
                view.show()

            yield report
        log.info("%s ended after %d epochs: %s", title, len(told), task.note)
        self._history.end_training(told[-1])


def _elbos(record: EpochRecord) -> str:
    return f"ELBO {record.train_elbo:.2f}, validation ELBO {record.validation_elbo:.2f}"
