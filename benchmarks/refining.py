"""How fast posteriors are refined, and how fast and how well chains mix.

    python benchmarks/refining.py [FILE]

Refinement: 1,000 observations of 4,096 features. Chains: the default 4 x 1,000 draws for 200
held-out observations of FILE (made counts of 2,000 features without one), with the share of the
observations whose worst latent has an r-hat below 1.01, and 100 effective draws or more.
"""

from __future__ import annotations

import argparse
import time
import warnings

import arviz
import torch
from anndata import AnnData
from made import made_counts
from tables import report

from vae4counts.data import load
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit, keep_freed_memory
from vae4counts.models import GMVAE

REFINED, CHAINED = 1000, 200


def fitted(adata: AnnData, epochs: int | None) -> Run:
    """Return a default fit."""
    torch.manual_seed(0)
    model = GMVAE(adata.n_vars)
    return fit(model, guide_for(model), adata, epochs=epochs, progress=False)


def main() -> None:
    """Measure and print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    adata = made_counts(6_000, 4_096, 0.08)
    on = fitted(adata, 20).on(adata[:REFINED].copy())
    began = time.perf_counter()
    on.refined.guide()
    seconds = time.perf_counter() - began
    row = {"observations": REFINED, "features": adata.n_vars, "seconds": round(seconds, 1)}
    report("refining", [{**row, "observations a second": round(REFINED / seconds)}])

    adata = load(arguments.file) if arguments.file else made_counts(4_000, 2_000, 0.08)
    run = fitted(adata, None)
    few = adata[run.split.test[:CHAINED]].copy()
    began = time.perf_counter()
    draws = run.posterior(few, method="hmc", sites=["z"])
    seconds = time.perf_counter() - began
    r_hat = arviz.rhat(draws["posterior"])["z"].max("latent").to_numpy()
    effective = arviz.ess(draws["posterior"])["z"].min("latent").to_numpy()
    row = {
        "observations": len(few),
        "features": adata.n_vars,
        "seconds": round(seconds, 1),
        "r-hat below 1.01": float((r_hat < 1.01).mean()),
        "100 effective draws": float((effective >= 100).mean()),
    }
    report("chains", [row])


if __name__ == "__main__":
    main()
