"""The cost of a step of a model of two tables, as a ratio to those of models of one.

    python benchmarks/modality_steps.py [--steps 200]

The models take steps in turn in one process; the median of each is reported, in seconds of the
processor: those do not depend on what else the machine does. torch computes with one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from lightning_fabric import Fabric
from made import made_counts
from tables import report

from vae4counts.data import CountLoader, Tables, counts_of
from vae4counts.guides import guide_for
from vae4counts.inference.fitting.learning_rate import OneCycle
from vae4counts.inference.fitting.step import Steps, StepSettings
from vae4counts.inference.fitting.subsets import SubsetExperts
from vae4counts.models import Modality, MultiVAE, start_from_data

BATCH, N_OBS, WARM_UP = 128, 4_096, 10
SIZES = {"one": 2_048, "other": 256}


def stepper(counts: Tables, names: Sequence[str]) -> Callable[[], float]:
    """Return what takes a step of a model of some tables, and says how long it took."""
    model = MultiVAE({name: Modality(SIZES[name]) for name in names})
    guide = guide_for(model)
    batches = list(CountLoader(counts.only(names), batch_size=BATCH, seed=0).epoch(1, 0))
    start_from_data(model, batches[0])
    start_from_data(guide, batches[0])
    settings = StepSettings(
        learning_rate=1e-3,
        prior_learning_rate=1e-3,
        cycle=OneCycle(10_000),
        handlers=(SubsetExperts(),),
    )
    steps = Steps(Fabric(accelerator="cpu"), model, guide, settings)
    steps.elbo.train()
    left = cycle(batches)

    def take() -> float:
        batch = next(left)
        began = time.thread_time()
        steps.take(batch)
        return time.thread_time() - began

    return take


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    n_steps = parser.parse_args().steps
    torch.set_num_threads(1)
    torch.manual_seed(0)
    members = {name: counts_of(made_counts(N_OBS, size, 0.08)) for name, size in SIZES.items()}
    rows = torch.arange(N_OBS)
    whole = Tables(members, dict.fromkeys(members))

    def lacking(name: str, every: int) -> Tables:
        """Let one in so many observations have a table."""
        has = torch.where(rows % every == 0, rows, -1)
        return Tables(members, dict.fromkeys(members) | {name: has})

    cases = {
        "one": stepper(whole, ["one"]),
        "other": stepper(whole, ["other"]),
        "both": stepper(whole, list(SIZES)),
    }
    for name in SIZES:
        cases |= {
            f"both, half lack {name}": stepper(lacking(name, 2), list(SIZES)),
            f"both, all but one in 128 lack {name}": stepper(lacking(name, BATCH), list(SIZES)),
        }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(n_steps):
        for name, take in cases.items():
            times[name].append(1000 * take())
    step = {name: statistics.median(taken[WARM_UP:]) for name, taken in times.items()}
    both = step["one"] + step["other"]
    report(
        "modality_steps",
        [
            {"tables": name, "ms a step": time, "of the sum of the two": time / both}
            for name, time in step.items()
        ],
    )


if __name__ == "__main__":
    main()
