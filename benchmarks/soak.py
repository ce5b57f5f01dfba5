"""Fits that are killed at random moments and resumed, fifty times in a row.

    python benchmarks/soak.py [--kills 50] [--seed 0]

A fit runs in its own process and saves its state about every 50 ms. SIGKILL ends it at a random
moment: in a step, while a checkpoint is written, or while results are written. The next process
resumes it. Each finished run is compared, file by file and byte by byte except for times, with a
run that was never interrupted. Then the next run begins, until there have been enough kills.

This is done with `fit` (two restarts, and a plain VAE before the mixture) and with the command
line, including figures and annotated data. A third process fits twenty times. (Linux only: memory
is read from /proc.)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import torch
from made import made_counts
from peak import megabytes, peak_megabytes
from tables import report

from vae4counts.guides import guide_for
from vae4counts.inference import Checkpoints, Schedule, fit
from vae4counts.inference.cli import app
from vae4counts.inference.run import storage
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture

PROCESSES = multiprocessing.get_context("forkserver")
CLOCK = ["seconds", "observations_per_second"]
FITS = 20


def by_fit(out: Path) -> None:
    """Begin the fit, or continue it, and write the run."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    adata = made_counts(600, 200, 0.1)
    model = GMVAE(200, GaussianMixture(5, 6))
    with storage.resumable(out, resume=True) as checkpoints:
        if not storage.has_ended(out):
            run = fit(
                model,
                guide_for(model),
                adata,
                epochs=200,
                device="cpu",
                progress=False,
                schedule=Schedule(patience=200, restarts=2),
                checkpoints=Checkpoints(checkpoints, timedelta(seconds=0.05), resume=True),
            )
            run.evaluate(adata, num_samples=10)
            storage.publish(run.write, out)
        storage.discard_checkpoints(out)


def by_command(out: Path) -> None:
    """The same by the command line, in this process."""
    warnings.simplefilter("ignore")
    data = out.parent / "data.h5ad"
    if not data.exists():
        made_counts(600, 200, 0.1).write_h5ad(data)
    words = ["fit", str(data), "--out", str(out), "--resume", "--checkpoint-minutes", "0.001"]
    words += ["--components", "6", "--latents", "5", "--epochs", "200", "--device", "cpu"]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        app(words, standalone_mode=False)


# How a session fits, and after how many seconds it is killed at the latest: figures take longer.
SESSIONS: dict[str, tuple[Callable[[Path], None], float]] = {
    "fit": (by_fit, 2.0),
    "command line": (by_command, 15.0),
}


def many_fits(memory: Connection) -> None:
    """Fit again and again, and send how many MB this process has after each fit."""
    warnings.simplefilter("ignore")
    adata = made_counts(600, 200, 0.1)
    for _ in range(FITS):
        model = GMVAE(200, GaussianMixture(5, 6))
        run = fit(model, guide_for(model), adata, epochs=60, device="cpu", progress=False)
        run.evaluate(adata, num_samples=10)
        memory.send(megabytes())


def numbers(run: Path) -> tuple[object, ...]:
    """Return everything that a run directory holds except for times."""
    history = pd.read_csv(run / storage.HISTORY, dtype=str).drop(columns="seconds")
    metrics = json.loads((run / storage.METRICS).read_text())
    return (
        (run / storage.WEIGHTS).read_bytes(),
        (run / storage.CONFIG).read_text().replace(str(run), "OUT"),
        history.to_csv(),
        {name: value for name, value in metrics.items() if name not in CLOCK},
    )


def soak(kind: str, kills: int, chance: random.Random) -> dict[str, object]:
    """Kill sessions of a kind until there have been enough kills, and compare the runs.

    Raises:
        SystemExit: A run differs, files are left over, or a session fails.
    """
    session, longest = SESSIONS[kind]
    peaks: list[int] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = folder / "undisturbed"
        process = PROCESSES.Process(target=session, args=(reference,))
        process.start()
        process.join()
        expected = numbers(reference)
        expected_files = {path.name for path in reference.iterdir()}
        there_before = {path.name for path in folder.iterdir()}
        runs = []
        while len(peaks) < kills:
            runs.append(folder / f"run{len(runs)}")
            while not runs[-1].exists():
                process = PROCESSES.Process(target=session, args=(runs[-1],))
                process.start()
                delay = chance.uniform(0, longest) if len(peaks) < kills else None
                process.join(delay)
                if process.is_alive():
                    peaks.append(peak_megabytes(process.pid or 0))
                    process.kill()
                    process.join()
                elif process.exitcode:
                    raise SystemExit(f"a session ended with status {process.exitcode}")
        differing = [run.name for run in runs if numbers(run) != expected]
        differing += [r.name for r in runs if {p.name for p in r.iterdir()} != expected_files]
        there = {path.name for path in folder.iterdir()}
        leftovers = there - there_before - {run.name for run in runs}
    if differing or leftovers:
        raise SystemExit(f"different: {differing}; left over: {sorted(leftovers)}")
    tenth = max(1, len(peaks) // 10)
    return {
        "by": kind,
        "kills": len(peaks),
        "runs": len(runs),
        "runs that differ": len(differing),
        "files left over": len(leftovers),
        "MB, first tenth": statistics.median(peaks[:tenth]),
        "MB, last tenth": statistics.median(peaks[-tenth:]),
        "seconds": time.monotonic() - started,
    }


def one_process() -> dict[str, object]:
    """Measure the memory of a process that fits again and again."""
    started = time.monotonic()
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=many_fits, args=(sender,))
    process.start()
    sender.close()  # the process has its own copy: if it dies, recv raises instead of waiting
    memory = [receiver.recv() for _ in range(FITS)]
    process.join()
    return {
        "by": f"{FITS} fits in one process",
        "kills": 0,
        "runs": FITS,
        "runs that differ": "",
        "files left over": "",
        "MB, first tenth": statistics.median(memory[: FITS // 10]),
        "MB, last tenth": statistics.median(memory[-FITS // 10 :]),
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    """Run the soak and print its table; a difference is an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    PROCESSES.set_forkserver_preload(["soak"])
    chance = random.Random(arguments.seed)  # noqa: S311 (moments, no secrets)
    rows = [soak(kind, arguments.kills, chance) for kind in SESSIONS]
    report("soak", [*rows, one_process()])


if __name__ == "__main__":
    main()
