"""Fits that are killed at random moments and taken up again, fifty times in a row.

    python benchmarks/soak.py [--kills 50] [--seed 0]

A fit (two short ones to choose from, a plain VAE before the mixture) runs in a process of its own
and saves its state about every 50 ms. SIGKILL ends it at a random moment, be it in a step, while a
checkpoint is written or while results are; the next process goes on. Each run that comes to its
end is compared with one that nothing disturbed: files byte for byte, but for the seconds. Then the
next begins, until there were enough kills. (Linux: memory is read from /proc.)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pandas as pd
import torch
from made import made_counts
from peak import peak_megabytes
from tables import report

from vae4counts.guides import guide_for
from vae4counts.inference import fit, storage
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture

LONGEST = 2.0  # seconds until a kill
CLOCK = ["seconds", "observations_per_second"]


def session(out: Path) -> None:
    """Begins the fit, or goes on with it, and writes the run."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    adata = made_counts(600, 200, 0.1)
    model = GMVAE(200, GaussianMixture(5, 6))
    with storage.resumable_directory(out, resume=True) as (checkpoints, staging):
        run = fit(
            model,
            guide_for(model),
            adata,
            epochs=200,
            patience=200,
            restarts=2,
            device="cpu",
            progress=False,
            checkpoint_dir=checkpoints,
            checkpoint_every=timedelta(seconds=0.05),
            resume_from=checkpoints,
        )
        run.evaluate(adata, num_samples=10)
        run.write(staging)


def numbers(run: Path) -> tuple[object, ...]:
    """All that a run says but for its seconds."""
    history = pd.read_csv(run / storage.HISTORY, dtype=str).drop(columns="seconds")
    metrics = json.loads((run / storage.METRICS).read_text())
    return (
        (run / storage.WEIGHTS).read_bytes(),
        (run / storage.CONFIG).read_bytes(),
        history.to_csv(),
        {name: value for name, value in metrics.items() if name not in CLOCK},
    )


def main() -> None:
    """Runs the soak and prints its table; a difference is an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 (moments, no secrets)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["soak"])
    peaks: list[int] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = folder / "undisturbed"
        process = processes.Process(target=session, args=(reference,))
        process.start()
        process.join()
        expected = numbers(reference)
        runs = []
        while len(peaks) < arguments.kills:
            runs.append(folder / f"run{len(runs)}")
            while not runs[-1].exists():
                process = processes.Process(target=session, args=(runs[-1],))
                process.start()
                delay = chance.uniform(0, LONGEST) if len(peaks) < arguments.kills else None
                process.join(delay)
                if process.is_alive():
                    peaks.append(peak_megabytes(process.pid))
                    process.kill()
                    process.join()
                elif process.exitcode:
                    raise SystemExit(f"a session ended with status {process.exitcode}")
        differing = [run.name for run in runs if numbers(run) != expected]
        there = {path.name for path in folder.iterdir()}
        leftovers = there - {run.name for run in runs} - {reference.name}
    tenth = max(1, len(peaks) // 10)
    row = {
        "kills": len(peaks),
        "runs": len(runs),
        "runs that differ": len(differing),
        "files left over": len(leftovers),
        "peak MB, first kills": statistics.median(peaks[:tenth]),
        "peak MB, last kills": statistics.median(peaks[-tenth:]),
        "peak MB, highest": max(peaks),
        "seconds": time.monotonic() - started,
    }
    report("soak", [row])
    if differing or leftovers:
        raise SystemExit(f"different: {differing}; left over: {sorted(leftovers)}")


if __name__ == "__main__":
    main()
