"""Guides compared: how well each fits the same model to the same counts, and what a step costs.

    python benchmarks/guides.py FILE... [--guides marginal flow] [--epochs 100] [--draws 500]

A GMVAE of 10 components and 10 latents is fitted with its defaults, and asked about observations
that training has not seen. Pareto k tells how far a guide is from the posterior: above 0.7, the
importance-weighted bound of an observation cannot be trusted.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import warnings
from pathlib import Path
from typing import Any

import torch
from anndata import AnnData
from tables import report

from vae4counts.data import load
from vae4counts.guides import fitting_guides, guide_for
from vae4counts.inference import fit, keep_freed_memory, settled_objects
from vae4counts.models import GMVAE

log = logging.getLogger("guides")


def record(adata: AnnData, kind: str, epochs: int | None, draws: int, seed: int) -> dict[str, Any]:
    """Fit a model with a guide and measure it on held-out observations."""
    torch.manual_seed(seed)
    model = GMVAE(adata.n_vars)
    guide = guide_for(model, kind)
    with settled_objects():
        run = fit(model, guide, adata, epochs=epochs, seed=seed, device="cpu", progress=False)
    full = run.history[run.history.phase == "full"]
    log.info("%s: fitted in %d epochs", kind, len(run.history))
    view = run.on(adata)
    found = view.evaluate(draws)
    k = view.log_likelihoods(draws)["pareto_k"]
    log.info("%s: ELBO %.2f, bound %.2f", kind, found.elbo, found.iw_log_likelihood)
    return {
        "epochs": len(run.history),
        "seconds": statistics.median(full.seconds[1:]) / math.ceil(full.step.diff().max()),
        "ELBO": f"{found.elbo:.2f}",  # the table rounds large numbers
        f"bound, {draws} draws": f"{found.iw_log_likelihood:.2f}",
        "refined ELBO": f"{view.evaluate(draws, refine=True).elbo:.2f}",  # of the model alone
        "median k": k.median(),
        "k above 0.7": (k > 0.7).mean(),
    }


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--guides", nargs="+", help="those that fit by default; the first is 1")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    keep_freed_memory()
    table = []
    for path in arguments.data:
        adata = load(path)
        log.info("%s: %d x %d", path.stem, *adata.shape)
        kinds = arguments.guides or fitting_guides(GMVAE(adata.n_vars))
        chosen = (arguments.epochs, arguments.draws, arguments.seed)
        rows = {kind: record(adata, kind, *chosen) for kind in kinds}
        first = rows[kinds[0]]["seconds"]
        for kind, row in rows.items():
            step = {f"step / {kinds[0]}'s": row.pop("seconds") / first}
            table.append({"data": path.stem, "guide": kind, **step, **row})
    report("guides", table)


if __name__ == "__main__":
    main()
