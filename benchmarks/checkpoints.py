"""The cost of checkpoints: the time of one, and its share of training at the default interval.

    python benchmarks/checkpoints.py [--steps 1500] [--features 4096 32738]

Checkpoints are written every 100 steps of fits of made counts (8,000 observations, batch 128).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from made import made_counts
from tables import report

from vae4counts.guides import guide_for
from vae4counts.inference import Checkpoints, fit, keep_freed_memory, settled_objects
from vae4counts.inference.fitting.resumption import ResumableFit
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture

EVERY = 100


def measure(n_features: int, steps: int) -> dict[str, float]:
    """Fit with checkpoints, and time every call that may write one."""
    adata = made_counts(8_000, n_features, 0.08)
    torch.manual_seed(0)
    model = GMVAE(n_features, GaussianMixture(10, 10))
    took: list[float] = []
    inner = ResumableFit._after_step

    def timed(self: ResumableFit, training: Any) -> None:
        began = time.perf_counter()
        inner(self, training)
        took.append(time.perf_counter() - began)

    ResumableFit._after_step = timed  # type: ignore[method-assign]
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name, settled_objects():
        run = fit(
            model,
            guide_for(model),
            adata,
            epochs=max(1, steps // 50),
            progress=False,
            checkpoints=Checkpoints(name, EVERY),
        )
        last = max(Path(name).iterdir())
        size = sum(path.stat().st_size for path in last.iterdir())
    ResumableFit._after_step = inner  # type: ignore[method-assign]
    writes = took[EVERY - 1 :: EVERY]
    every = Checkpoints(".").every.total_seconds()
    write = statistics.median(writes)
    rest = statistics.median(took)
    training = run.history.seconds.sum() - sum(took)
    return {
        "features": n_features,
        "MB": size / 1e6,
        "ms a checkpoint": 1000 * write,
        "ms, slowest": 1000 * max(writes),
        "% of training, every 5 minutes": 100 * (write / every + rest * len(took) / training),
        "%, by the slowest": 100 * max(writes) / every,
        "ms a step": 1000 * training / len(took),
        "checkpoints": len(writes),
    }


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--features", type=int, nargs="+", default=[4_096, 32_738])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    report("checkpoints", [measure(number, arguments.steps) for number in arguments.features])


if __name__ == "__main__":
    main()
