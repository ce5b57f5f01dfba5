"""A piece of long work: what it is, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass
class Task:
    """A piece of long work.

    Attributes:
        title: What is done: "training".
        unit: What it is counted in: "epochs".
        total: How much of these there are; None if that is not known.
        done: How much of them are done, and some of the next: 12.5. At first, what was done before.
        note: What else there is to say of the state of the work.
        is_long: Whether it tends to take so long that its first unit is worth a line of text.
        clock: Gives the time in seconds.
    """

    title: str
    unit: str
    total: float | None
    done: float = 0.0
    note: str = ""
    is_long: bool = False
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        self._done_before, self._started = self.done, self.clock()

    @property
    def share(self) -> float | None:
        """The share of all that is done; None if the total is not known."""
        return self.done / self.total if self.total else None

    @property
    def seconds(self) -> float:
        """Seconds since the work was begun, or continued."""
        return self.clock() - self._started

    @property
    def speed(self) -> float | None:
        """Units a second; None before anything has been done."""
        done, seconds = self.done - self._done_before, self.seconds
        return done / seconds if done > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes if the work continues as fast; None if that is not known."""
        if self.total is None or self.speed is None:
            return None
        return (self.total - self.done) / self.speed

    @property
    def position(self) -> str:
        """How far the work has come: "12 of 54 epochs"."""
        total = "" if self.total is None else f" of {int(self.total):,}"
        return f"{int(self.done):,}{total} {self.unit}"

    @property
    def times(self) -> str:
        """How long the work has taken, and may take: "0:01:12, 0:04:10 left"."""
        left = self.seconds_left
        return clock_time(self.seconds) + ("" if not left else f", {clock_time(left)} left")

    def __str__(self) -> str:
        share = "" if self.share is None else f" ({self.share:.0%})"
        said = [f"{self.position}{share}", self.note, self.times]
        return f"{self.title}: {', '.join(filter(None, said))}"


def clock_time(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds: "0:01:12"."""
    return str(timedelta(seconds=round(seconds)))
