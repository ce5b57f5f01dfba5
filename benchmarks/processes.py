"""Two processes beside one, each with a core of its own.

    python benchmarks/processes.py [--repeats 3] [--features 4096]

Each fit is a separate command with one thread per process, and each process is bound to a core
(Linux only). Observations per second are those of the training loop, without the first epoch;
medians over repetitions are reported.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import warnings

import torch
from made import made_counts
from tables import report

from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory, settled_objects
from vae4counts.inference.parallel.processes import Processes
from vae4counts.models import VAE

BATCHES = (128, 512, 1024, 2048, 4096)
EPOCHS = 3


def measure(n_obs: int, n_features: int) -> None:
    """Fit in this process, or as one of several, and print a line for each batch size."""
    here = Processes.here()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[here.rank]})
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    adata = made_counts(n_obs, n_features, 0.08)
    for batch_size in BATCHES:
        torch.manual_seed(0)
        model = VAE(n_features)
        keep_freed_memory()
        with settled_objects():
            run = fit(
                model,
                guide_for(model),
                adata,
                epochs=EPOCHS,
                batch_size=batch_size,
                progress=False,
                device="cpu",
            )
        seconds = run.history.seconds[1:]
        if here.is_first:
            print("rate", batch_size, len(run.split.train) / statistics.median(seconds))


def rates(processes: int, n_obs: int, n_features: int) -> dict[int, float]:
    """Return observations per second by batch size."""
    start = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone"]
    start += ["--local-addr=localhost", f"--nproc-per-node={processes}"] if start else []
    words = [__file__, "--measure", f"--observations={n_obs}", f"--features={n_features}"]
    done = subprocess.run(  # noqa: S603 (this file)
        [sys.executable, *start, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("rate ")]
    return {int(size): float(rate) for _, size, rate in lines}


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--features", type=int, default=4_096)
    parser.add_argument("--observations", type=int, default=10_000)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = given.observations, given.features
    if given.measure:
        measure(*size)
        return
    found = {1: [rates(1, *size)], 2: [rates(2, *size)]}
    for _ in range(given.repeats - 1):
        for processes, each in found.items():
            each.append(rates(processes, *size))
    table = []
    for batch_size in BATCHES:
        one, two = (
            statistics.median(each[batch_size] for each in found[number]) for number in (1, 2)
        )
        table.append(
            {
                "batch": batch_size,
                "one process, observations/s": one,
                "two processes": two,
                "ratio": two / one,
            }
        )
    report("processes", table)


if __name__ == "__main__":
    main()
