"""How good the posteriors are: amortised and refined, on held-out observations of real data.

    python benchmarks/posteriors.py FILE[:LABEL]... [--seeds 3] [--out FOLDER]

Each file is fitted by default (a GMVAE of 10 components) for each seed, and evaluated with 500
draws. With --out the runs are kept, and those that are there already are not fitted again. The
table has means over the seeds: ELBO and importance-weighted bound (nats), the median Pareto k and
the share above 0.7, the median share of the draws that count; perplexity and ARI of the components
of 1,000 observations, held out or not (all where there are fewer), since a tenth of a small set
tells nothing. How many observations are refined in a second is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from anndata import AnnData
from tables import report

from vae4counts.data import load
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit, keep_freed_memory
from vae4counts.models import GMVAE

DRAWS = 500
# Components are compared with the labels of so many observations, by so many draws of each.
GROUPED, GROUPING_DRAWS = 1000, 50
Figures = dict[str, float | None]
MEASURED = (
    "elbo",
    "iw_log_likelihood",
    "pareto_k_median",
    "pareto_k_high",
    "effective_draws",
)
OF_COMPONENTS = ("component_perplexity", "ari")


def fitted(path: str, label: str | None, seed: int, out: Path | None) -> Run:
    """Return the default fit of a file, read or made."""
    place = None if out is None else out / f"{Path(path).stem}-{seed}"
    if place is not None and place.exists():
        return Run.load(place)
    adata = load(path)
    torch.manual_seed(seed)
    model = GMVAE(adata.n_vars)
    run = fit(model, guide_for(model), adata, seed=seed, label=label, progress=False)
    if place is not None:
        run.save(place)
    return run


def grouped(adata: AnnData) -> AnnData:
    """Return some observations, in an order that tells a run that it was not fitted to just these.

    It would ask about its held-out part only.
    """
    return adata[np.random.default_rng(0).permutation(adata.n_obs)[:GROUPED]].copy()


def measure(path: str, label: str | None, seed: int, out: Path | None) -> dict[str, Figures]:
    """Evaluate a fit by the guide and by refined posteriors; say how fast those were found."""
    run, adata = fitted(path, label, seed, out), load(path)
    on, some = run.on(adata, label=label), run.on(grouped(adata), label=label)
    began = time.perf_counter()
    on.refined.guide(on.held_out)
    speed = len(on.held_out) / (time.perf_counter() - began)
    print(f"{Path(path).stem} seed {seed}: {speed:.0f} observations refined a second", flush=True)
    found: dict[str, Figures] = {}
    for name, refine in (("amortised", False), ("refined", True)):
        result = on.evaluate(DRAWS, refine=refine)
        of_some = some.evaluate(GROUPING_DRAWS, refine=refine)
        figures: Figures = {key: getattr(result, key) for key in MEASURED}
        figures |= {key: getattr(of_some, key) for key in OF_COMPONENTS}
        found[name] = figures
        values = ", ".join(f"{key} {value or 0:.3f}" for key, value in figures.items())
        print(f"{Path(path).stem} seed {seed} {name}: {values}", flush=True)
    return found


def mean(found: list[Figures], name: str) -> float | str:
    """The mean over seeds; a dash for what there is not."""
    values = [value for each in found if (value := each.get(name)) is not None]
    return round(statistics.mean(values), 3) if values else "-"


def main() -> None:
    """Fit, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="FILE or FILE:LABEL")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    rows: list[dict[str, object]] = []
    for file in arguments.files:
        path, _, label = file.partition(":")
        found = [
            measure(path, label or None, seed, arguments.out) for seed in range(arguments.seeds)
        ]
        for kind in ("amortised", "refined"):
            each = [result[kind] for result in found]
            row = {name: mean(each, name) for name in (*MEASURED, *OF_COMPONENTS)}
            rows.append({"data": Path(path).stem, "posteriors": kind, **row})
    report("posteriors", rows)


if __name__ == "__main__":
    main()
