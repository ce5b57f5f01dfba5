"""Signals that ask a fit to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is sent when a terminal is closed
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class FitInterrupted(KeyboardInterrupt):
    """A fit was asked to stop by a signal, and has done so after a step.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class StopRequest:
    """A request to stop, made by a signal.

    Attributes:
        number: The signal's number; None before any has arrived.
    """

    number: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT, SIGTERM and SIGHUP inside a ``with`` block.

    A second signal acts as it did before. Ignored signals stay ignored. Outside of the main thread,
    which alone may handle signals, nothing is changed. A signal that was noted but not obeyed is
    sent again at the end.
    """
    request = StopRequest()
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        request.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        before = {n: h for n, h in handlers.items() if h not in (None, signal.SIG_IGN)}
        for number in before:
            signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
    if request.number is not None:
        signal.raise_signal(request.number)
