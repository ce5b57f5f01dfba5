"""The history of a fit, written down by a logger while it grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

from vae4counts.data.text import reason_of
from vae4counts.data.warning import warn
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.options import SettingsError

# What says where a record belongs, and not how training goes.
PLACES = ("phase", "step")


@runtime_checkable
class Logger(Protocol):
    """What all of Lightning Fabric's loggers can do."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write figures down, by name."""

    def save(self) -> None:
        """Make sure that what was written down can be read."""

    def finalize(self, status: str) -> None:
        """Write the rest down: training has ended."""


def check_logger(logger: Any) -> None:
    """Make sure that an argument is a logger.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(logger, Logger):
        raise SettingsError(
            f"logger is {logger!r}: it must be one of Lightning Fabric's, such as "
            "lightning_fabric.loggers.CSVLogger('logs')"
        )


class LoggedHistory:
    """The history of a fit, as a logger has it.

    A logger that fails (its disk is full, its server away) costs no fit: a warning says so, and
    training continues without it.

    Args:
        logger: The logger; None for none.
    """

    def __init__(self, logger: Logger | None) -> None:
        self._logger = logger
        self._steps_before = 0

    def add(self, record: EpochRecord) -> None:
        """Write an epoch down, at the number of optimiser steps that the fit has taken."""
        figures = {name: value for name, value in asdict(record).items() if name not in PLACES}
        step = self._steps_before + record.step

        def write(logger: Logger) -> None:
            logger.log_metrics(figures, step)
            logger.save()  # so that it can be read while training goes on

        self._try(write)

    def end_training(self, last: EpochRecord) -> None:
        """Count the steps of the next training on from the last record of this one."""
        self._steps_before += last.step

    def close(self, status: str) -> None:
        """Say how the fit has ended: "success" or "failed"."""
        self._try(lambda logger: logger.finalize(status))

    def _try(self, act: Callable[[Logger], None]) -> None:
        if self._logger is None:
            return
        try:
            act(self._logger)
        except Exception as error:  # whatever it is, it must not cost the fit
            self._logger = None
            warn(f"the logger has failed, and training continues without it: {reason_of(error)}")
