"""Seconds until a fit is as good as SCVI's finished one, on the same split and machine.

    python benchmarks/time_to_quality.py FILE.h5ad|made [...] [--seeds 1] [--top-features 4096]

scvi-tools' SCVI is trained by its own defaults (up to 400 epochs, Adam at 1e-3, its KL warm-up;
10 latents, a hidden layer of 128 and negative binomial counts as ours). The importance-weighted
log-likelihood of the held-out observations, 100 draws each, is the mark. Then our VAE and GMVAE are
fitted by their defaults, and the same is measured after every epoch, with the clock stopped. The
table says how long SCVI trained, when ours passed its mark, how long the whole fit took (its groups
and its diagnosis counted), and what it reached. "made" is 20,000 x 4,096 made counts. Run it with
nothing else on the machine.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from made import made_counts
from mixtures import SAMPLES, scvi_bound, untrained_scvi
from scipy.special import logsumexp
from tables import report

from vae4counts.data import CountLoader, load, random_split, top_features
from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory, settled_objects
from vae4counts.inference.fitting.loop import TrainingLoop
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.importance import log_weights
from vae4counts.models import GMVAE, VAE


def scvi(adata: AnnData, seed: int) -> tuple[float, float]:
    """Train SCVI by its defaults; return seconds of training, and its held-out bound in nats."""
    model, split, options = untrained_scvi(adata, seed)
    began = time.perf_counter()
    model.train(**options)
    return time.perf_counter() - began, scvi_bound(model, split.test)


class Clock:
    """Seconds since it was made, without those in which it was stopped."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def now(self) -> float:
        """Return the seconds."""
        return time.perf_counter() - self.began

    def stopped(self, seconds: float) -> None:
        """Leave out seconds that have passed."""
        self.began += seconds


def ours(adata: AnnData, model: VAE, seed: int) -> tuple[float, pd.DataFrame]:
    """Fit by the defaults.

    Returns:
        Seconds of the fit, and the held-out bound after each epoch with the seconds until then.
    """
    held_out = adata[random_split(adata.n_obs, validation=0.1, test=0.1, seed=seed).test].copy()
    rows: list[tuple[float, float]] = []
    validate = TrainingLoop._validate
    clock = Clock()

    def measure(loop: TrainingLoop) -> Any:
        record = validate(loop)
        seconds = clock.now()
        with torch.no_grad(), own_randomness(torch.device("cpu"), 0):
            batches = CountLoader(held_out, shuffle=False)
            weights = [log_weights(loop.model, loop.guide, each, SAMPLES) for each in batches]
        bounds = logsumexp(np.concatenate(weights), axis=1) - math.log(SAMPLES)
        rows.append((seconds, float(bounds.mean())))
        clock.stopped(clock.now() - seconds)
        return record

    keep_freed_memory()
    TrainingLoop._validate = measure  # type: ignore[method-assign]
    try:
        with settled_objects():
            fit(model, guide_for(model), adata, seed=seed, progress=False)
    finally:
        TrainingLoop._validate = validate  # type: ignore[method-assign]
    return clock.now(), pd.DataFrame(rows, columns=["seconds", "bound"])


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--top-features", type=int, default=4096)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for source in asked.data:
        adata = made_counts(20_000, 4096, 0.08) if source == "made" else load(source)
        adata = top_features(adata, asked.top_features)
        for seed in range(asked.seeds):
            theirs, mark = scvi(adata, seed)
            row: dict[str, object] = {"data": Path(source).stem, "seed": seed}
            row |= {"SCVI (s)": theirs, "its bound": f"{mark:,.1f}"}
            for kind in (VAE, GMVAE):
                torch.manual_seed(seed)
                seconds, course = ours(adata, kind(adata.n_vars), seed)
                passed = course.seconds[course.bound >= mark]
                when = float(passed.iloc[0]) if len(passed) else float("nan")
                row |= {
                    f"{kind.__name__}: passes it (s)": when,
                    f"{kind.__name__}: of SCVI's time": f"1/{theirs / when:.1f}",
                    f"{kind.__name__}, whole (s)": seconds,
                    f"{kind.__name__}: bound": f"{course.bound.iloc[-1]:,.1f}",
                }
            rows.append(row)
            report("time_to_quality", rows)


if __name__ == "__main__":
    main()
