"""The cost of a mixture: the time of a training step as a ratio to the plain VAE's.

    python benchmarks/steps.py [--repeats 5]

The pairs train in turn on the same counts. The time of a fit is that of its median epoch; the
fastest repetition is reported, since other work on the machine can only make a fit slower.
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings

import torch
from contenders import TRAINING, fitted
from made import made_counts
from tables import report

from vae4counts.models import GMVAE, VAE, Covariates
from vae4counts.models.priors import GaussianMixture

FEATURES, BATCH = 4_096, 128
EPOCHS = 4


def milliseconds(
    n_components: int | None, guide: str | None, n_obs: int, n_levels: int | None = None
) -> float:
    """Return the median time of a step of a fit, without its first epoch."""
    torch.manual_seed(0)
    adata = made_counts(n_obs, FEATURES, 0.08)
    covariates = None
    if n_levels is not None:
        adata.obs["batch"] = (torch.arange(n_obs) % n_levels).numpy()
        covariates = Covariates.of(adata, ["batch"])
    mixture = n_components is not None
    prior = GaussianMixture(10, n_components) if mixture else None
    kind = GMVAE if mixture else VAE
    model = kind(FEATURES, prior, covariates=covariates)
    history = fitted(adata, model, guide, BATCH, EPOCHS, "32-true").history
    seconds = history.seconds[history.phase == "full"][1:]
    return 1000 * statistics.median(seconds) / math.ceil(TRAINING * n_obs / BATCH)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    cases = {
        "VAE": (None, None, 8_000),
        "VAE, a covariate of 5 levels": (None, None, 8_000, 5),
        "GMVAE, marginal guide, K = 10": (10, "marginal", 8_000),
        "GMVAE, marginal guide, K = 30": (30, "marginal", 8_000),
        "GMVAE, joint guide, K = 10": (10, "joint", 1_600),
        "GMVAE, joint guide, K = 30": (30, "joint", 1_600),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            times[name].append(milliseconds(*case))
    step = {name: min(of) for name, of in times.items()}
    table = [
        {"model and guide": name, "ms a step": time, "times the VAE": time / step["VAE"]}
        for name, time in step.items()
    ]
    report("steps", table)


if __name__ == "__main__":
    main()
