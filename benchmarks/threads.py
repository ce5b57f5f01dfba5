"""How OpenMP's threads wait: observations a second on an idle machine and on a busy one.

    python benchmarks/threads.py FILE [--repeats 2]

A VAE is trained for some epochs at batch 128 and 512, in processes of their own: with threads that
spin while they wait (OpenMP's default), with threads that sleep (the command line's), and with one
thread; alone, and beside an endless loop for each core. The fastest of the repeats counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tables import report

from vae4counts.inference.parallel.cpus import use_fewer_threads

FIT = """
import sys, warnings
warnings.simplefilter("ignore")
from vae4counts.data import load
from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory
from vae4counts.models import VAE
keep_freed_memory()
adata = load(sys.argv[1])
for size, epochs in ((128, 4), (512, 8)):
    model = VAE(adata.n_vars)
    run = fit(model, guide_for(model), adata, epochs=epochs, batch_size=size, progress=False)
    print(run.metrics["observations_per_second"])
"""
SLEEP: dict[str, str] = {}
use_fewer_threads(SLEEP)
WAYS: dict[str, dict[str, str]] = {
    "spin": {},
    "sleep": SLEEP,
    "one thread": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


def speeds(path: str, way: dict[str, str]) -> list[float]:
    """Return observations a second at batch 128 and 512."""
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-c", FIT, path],
        env=plain | way,
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(line) for line in done.stdout.split()]


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    rows = []
    for machine in ("idle", "busy"):
        loops = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range((os.cpu_count() or 1) if machine == "busy" else 0)
        ]
        try:
            for name, way in WAYS.items():
                each = [speeds(arguments.file, way) for _ in range(arguments.repeats)]
                small, large = map(max, zip(*each, strict=True))
                rows.append({"machine": machine, "threads": name, "128": small, "512": large})
                print(rows[-1], flush=True)
        finally:
            for loop in loops:
                loop.kill()
    report("threads", rows)


if __name__ == "__main__":
    main()
