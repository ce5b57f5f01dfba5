"""Fits by the command line that are hit between their last step and the end of the command.

    python benchmarks/drill.py [--hits 100] [--seed 0]

Training has ended, and the process writes the model, evaluates it, annotates the data and draws
figures. At a random moment SIGINT, SIGTERM, SIGHUP or SIGKILL arrives, or the disk is full: no file
may grow any more. Afterwards the model, the metrics and the history are there, the same as those
of a command that nothing has hit; or else the same command with ``--resume`` has to make them.
Those that it makes without another step of training are counted apart from those that it trains
again: SIGKILL in the milliseconds before the last checkpoint leaves nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from made import made_counts
from soak import numbers
from tables import report

from vae4counts.inference.cli import app
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.run import storage

PROCESSES = multiprocessing.get_context("forkserver")
OPTIONS = ("--components", "4", "--latents", "2", "--epochs", "20", "--device", "cpu")


def fill_disk() -> None:
    """Let no file of this process grow any more."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


def sender(number: signal.Signals) -> Callable[[], None]:
    """Return what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


HITS: dict[str, Callable[[], None]] = {
    "SIGINT": sender(signal.SIGINT),
    "SIGTERM": sender(signal.SIGTERM),
    "SIGHUP": sender(signal.SIGHUP),
    "SIGKILL": sender(signal.SIGKILL),
    "full disk": fill_disk,
}


def session(out: Path, steps: Any, hit: str | None, last: int, delay: float) -> None:
    """Run the command, and hit it some time after its last step.

    Args:
        out: Where its results go.
        steps: A shared number: how many steps have been taken; and when the last one was.
        hit: What happens to it; None for nothing.
        last: The number of the last step.
        delay: Seconds from the last step until it happens.
    """
    warnings.simplefilter("ignore")
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGXFSZ, signal.SIG_IGN),
    ):
        signal.signal(number, handler)
    take = Steps.take

    def counted(self: Steps, batch: Any) -> Any:
        loss = take(self, batch)
        steps[0], steps[1] = steps[0] + 1, time.monotonic()
        if hit is not None and steps[0] == last:
            timer = threading.Timer(delay, HITS[hit])
            timer.daemon = True
            timer.start()
        return loss

    Steps.take = counted  # type: ignore[method-assign]
    words = ["fit", str(out.parent / "data.h5ad"), "--out", str(out), *OPTIONS, "--resume"]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        app(words)


def run(out: Path, hit: str | None = None, last: int = 0, delay: float = 0.0) -> tuple[int, float]:
    """Run the command in a process of its own; return its steps and when it took the last one."""
    steps = PROCESSES.Array("d", 2)
    process = PROCESSES.Process(target=session, args=(out, steps, hit, last, delay))
    process.start()
    process.join()
    if hit is None and process.exitcode:
        raise SystemExit(f"the command ended with status {process.exitcode}")
    return int(steps[0]), steps[1]


def drill(hits: int, chance: random.Random) -> list[dict[str, object]]:
    """Hit the command so many times, and count what is there afterwards.

    Raises:
        SystemExit: A result is lost, or differs.
    """
    rows: dict[str, dict[str, Any]] = {
        name: {"hit": name, "times": 0, "there": 0, "resumed to": 0, "trained again": 0}
        for name in HITS
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_counts(600, 100, 0.1).write_h5ad(folder / "data.h5ad")
        run(folder / "warm")  # caches of numba and fonts
        reference = folder / "undisturbed"
        last, when = run(reference)
        longest = time.monotonic() - when
        expected, files = numbers(reference), {path.name for path in reference.iterdir()}
        for number in range(hits):
            hit = list(HITS)[number % len(HITS)]
            out, row = folder / f"run{number}", rows[hit]
            # half of the hits come in the first tenth, in which the model is written
            run(out, hit, last, chance.uniform(0, longest) * chance.choice((1.0, 0.1)))
            is_there = storage.has_ended(out)
            if is_there and numbers(out)[:3] != expected[:3]:  # the metrics grow by evaluation
                raise SystemExit(f"{out.name} after {hit}: the results differ")
            again, _ = run(out)
            row["times"] += 1
            row["there" if is_there else "trained again" if again else "resumed to"] += 1
            if numbers(out) != expected or {path.name for path in out.iterdir()} != files:
                raise SystemExit(f"{out.name} after {hit}: what --resume makes differs")
    return list(rows.values())


def main() -> None:
    """Run the drill and print its table; a lost or different result is an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    PROCESSES.set_forkserver_preload(["drill"])
    report("drill", drill(arguments.hits, random.Random(arguments.seed)))  # noqa: S311


if __name__ == "__main__":
    main()
