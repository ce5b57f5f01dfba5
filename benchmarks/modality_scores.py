"""What the tasks of `modalities.py` share: splits, fits of ours, scores of a table by others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data import random_split
from vae4counts.guides import guide_for
from vae4counts.inference import Run, Schedule, fit, keep_freed_memory, settled_objects
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.models import Model

PART = "part"
SAMPLES = 200
Scores = dict[str, float]


def split_in(adata: AnnData, seed: int, test: float, validation: float = 0.1) -> None:
    """Say in a column of ``obs`` which observations are for what."""
    split = random_split(adata.n_obs, validation=validation, test=test, seed=seed)
    part = np.full(adata.n_obs, "train", dtype=object)
    part[split.validation], part[split.test] = "validation", "test"
    adata.obs[PART] = part


def rows_of(adata: AnnData, part: str) -> np.ndarray:
    """Return the positions of the observations of a part."""
    return np.flatnonzero(adata.obs[PART] == part)


def fitted(
    model: Model,
    adata: AnnData,
    places: Mapping[str, str],
    seed: int,
    handlers: Sequence[Handler] = (),
) -> tuple[Run, Scores]:
    """Fit a model by the defaults, and return the run, its seconds and its epochs."""
    keep_freed_memory()
    began = time.perf_counter()
    with settled_objects():
        run = fit(
            model,
            guide_for(model),
            adata,
            modalities=places,
            split=PART,
            schedule=Schedule(handlers=handlers),
            seed=seed,
            progress=False,
        )
    seconds = time.perf_counter() - began
    return run, {"seconds": seconds, "epochs": len(run.history)}


def conditional(run: Run, adata: AnnData, of: str, given: str, *, refine: bool = False) -> Scores:
    """Score a table given another: two estimates, its marginal, and other observations' table."""
    found = run.conditional_log_likelihoods(adata, of, [given], SAMPLES, refine=refine)
    return {
        f"{of} given {given}": found["log_likelihood"].mean(),
        f"{of} given {given}, by difference": found["by_difference"].mean(),
        f"{of}": found["marginal"].mean(),
        f"{of} given shuffled": found["shuffled"].mean(),
        f"{of} given {given}, k > 0.7": (found["pareto_k"] > 0.7).mean(),
    }


def correlation(predicted: pd.DataFrame | np.ndarray, observed: np.ndarray) -> float:
    """Return Pearson's correlation of log1p by feature, averaged over the features."""
    a, b = np.log1p(np.asarray(predicted)), np.log1p(np.asarray(observed))
    return float(np.mean([np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(a.shape[1])]))
