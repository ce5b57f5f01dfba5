"""How a command ends when something is wrong: one line on standard error, and a status."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from vae4counts.data.text import one_line, reason_of
from vae4counts.inference.cli.application import asides

FAILURE = 1
BAD_INPUT = 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End in one line on standard error: bad input in status 2, a failed fit in status 1.

    Warnings are printed there too, one line each.
    """
    with warnings.catch_warnings():
        # PYTHONWARNINGS=error is meant for tests, not to throw a fit away
        warnings.filters = [each for each in warnings.filters if each[0] != "error"]
        warnings.showwarning = lambda message, *_: say_warning(str(message))
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            status, advice = _status_of(error)
            if status is None:
                raise
            asides.print(f"vae4counts: {one_line(advice.format(error))}")
            raise SystemExit(status) from None


@contextmanager
def made_later(what: str, command: str) -> Iterator[None]:
    """Turn an error into a line of warning that says what failed and which command makes it.

    Args:
        what: What is made inside: ``"latent.png"``.
        command: The command that makes it later.
    """
    try:
        yield
    except Exception as error:  # a figure may fail in any way, and costs no fit
        reason = reason_of(error)
        say_warning(f"{what} could not be made ({reason}): to make it later, run {command}")


def say_warning(text: str) -> None:
    """Print a line of warning on standard error."""
    asides.print(f"vae4counts: warning: {one_line(text)}")


def _status_of(error: BaseException) -> tuple[int | None, str]:
    """The exit status that an error ends in, and its line; None for an error of our own making."""
    # imported where something is wrong, so that --help is quick
    from vae4counts.data import DataError, UnknownName
    from vae4counts.guides import IncompatiblePairError
    from vae4counts.inference import (
        FitInterrupted,
        ProcessError,
        RunDirectoryError,
        SettingsError,
        TrainingError,
    )
    from vae4counts.models import NotInModelError

    bad_input = (
        DataError,
        IncompatiblePairError,
        NotInModelError,
        OSError,
        RunDirectoryError,
        SettingsError,
        UnknownName,
    )
    if isinstance(error, FitInterrupted):
        return 128 + error.number, "{}; to continue, run the same command with --resume"
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, str(error) or "stopped"
    if isinstance(error, (TrainingError, ProcessError)):
        return FAILURE, "error: {}"
    return (BAD_INPUT if isinstance(error, bad_input) else None), "error: {}"
