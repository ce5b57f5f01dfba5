"""Whether posteriors are right: on data that are simulated from a fitted model.

    python benchmarks/calibration.py FILE [--observations 2000] [--chained 200] [--seed 0]

The default GMVAE is fitted to the file, and observations are simulated from it with the library
sizes of the file's own: each comes with the latents that it was made from, a draw of its
posterior.

- Coverage: how many of these lie in the central intervals of 90 % of the draws; and
  simulation-based calibration (Talts et al. 2018): the p-value of a chi-squared test that their
  ranks among the draws are uniform. Of amortised, refined and (for some of the observations) HMC's
  draws.
- The sandwich (Grosse et al. 2015): bounds of log p(x) from below and from above by annealed
  importance sampling, and how far the other bounds are from the middle, in nats.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from scipy import stats
from tables import report

from vae4counts.data import CountMatrix, load
from vae4counts.guides import Guide, guide_for
from vae4counts.guides.local import LocalGuide
from vae4counts.inference import Run, fit, keep_freed_memory
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.annealing import lower_bound, upper_bound
from vae4counts.inference.posterior.draws import Draws
from vae4counts.inference.posterior.refinement import refine
from vae4counts.inference.posterior.samplers import HMC, FromGuide, Sampler
from vae4counts.models import GMVAE

DRAWS, BINS, BATCH = 399, 20, 100
Rows = list[dict[str, object]]


def simulated(run: Run, counts: CountMatrix, n: int) -> tuple[CountMatrix, torch.Tensor]:
    """Simulate observations with library sizes of the data; return them and their latents."""
    matrices, latents = [], []
    rows = torch.randint(len(counts), (n,))
    for chosen in rows.split(BATCH):
        drawn = run.model.draw(counts.batch(chosen), 1)
        matrices.append(sp.csr_matrix(drawn["counts"][0].numpy()))
        latents.append(drawn["z"][0])
    made = CountMatrix.from_checked(sp.vstack(matrices, format="csr"), counts.library[rows].numpy())
    return replace(made, library=counts.library[rows]), torch.cat(latents)


def collected(sampler: Sampler, counts: CountMatrix, n: int) -> torch.Tensor:
    """Draw ``z``, shape ``(S, n, L)``."""
    found = []
    for chosen in torch.arange(n).split(BATCH):
        draws: list[Draws] = list(sampler.draws(counts.batch(chosen), DRAWS // sampler.chains))
        found.append(torch.cat([each.values["z"] for each in draws]))
    return torch.cat(found, 1)


def calibration(name: str, z: torch.Tensor, truth: torch.Tensor) -> dict[str, object]:
    """How the true latents lie among draws."""
    lower, upper = torch.quantile(z, torch.tensor([0.05, 0.95]), dim=0)
    inside = ((truth > lower) & (truth < upper)).float().mean().item()
    # the latents of an observation are dependent: each is tested by itself, and Bonferroni's bound
    ranks = (z < truth).sum(0).numpy() * BINS // (len(z) + 1)
    p_values = [
        stats.chisquare(np.bincount(column, minlength=BINS)[:BINS]).pvalue for column in ranks.T
    ]
    smallest = min(1.0, min(p_values) * len(p_values))
    return {
        "draws": name,
        "observations": len(truth),
        "coverage of 90 %": round(inside, 4),
        "p of uniform ranks": round(smallest, 4),
    }


def sandwich(run: Run, local: LocalGuide, counts: CountMatrix, truth: torch.Tensor) -> Rows:
    """How far each bound is from the middle of the sandwich, in the mean."""
    guides: dict[str, Guide] = {"amortised": run.guide, "refined": local}
    below, above = [], []
    bounds: dict[str, list[torch.Tensor]] = {}
    for chosen in torch.arange(len(truth)).split(BATCH):
        batch = counts.batch(chosen)
        below.append(lower_bound(run.model, local, batch, chains=8))
        above.append(upper_bound(run.model, local, batch, truth[chosen]))
        for name, guide in guides.items():
            draws = list(FromGuide(run.model, guide).draws(batch, 500))
            weights = torch.cat([each.log_weights for each in draws])
            bounds.setdefault(f"{name} ELBO", []).append(weights.mean(0))
            importance = weights.logsumexp(0) - math.log(500)
            bounds.setdefault(f"{name} importance-weighted", []).append(importance)
    low, high = torch.cat(below).double().mean(), torch.cat(above).double().mean()
    middle = (low + high) / 2
    rows: Rows = [
        {"bound": "annealed, from below", "nats from the middle": round((low - middle).item(), 3)},
        {"bound": "annealed, from above", "nats from the middle": round((high - middle).item(), 3)},
    ]
    for name, found in bounds.items():
        away = (torch.cat(found).mean() - middle).item()
        rows.append({"bound": name, "nats from the middle": round(away, 3)})
    return rows


def main() -> None:
    """Fit, simulate, and print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--observations", type=int, default=2000)
    parser.add_argument("--chained", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", help="a saved run of the file, instead of a fit")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    adata = load(arguments.file)
    if arguments.run:
        run = Run.load(arguments.run)
    else:
        model = GMVAE(adata.n_vars)
        run = fit(model, guide_for(model), adata, seed=arguments.seed, progress=False)
    with own_randomness(torch.device("cpu"), arguments.seed), fast_products():
        counts, truth = simulated(run, run.on(adata).counts, arguments.observations)
        local = refine(run.model, run.guide, counts, advance=lambda _: None)
        some = min(arguments.chained, len(truth))
        rows = [
            calibration(name, collected(FromGuide(run.model, guide), counts, len(truth)), truth)
            for name, guide in (("amortised", run.guide), ("refined", local))
        ]
        chains = collected(HMC(run.model, local, chains=3), counts, some)
        rows.append(calibration("HMC, 3 chains", chains, truth[:some]))
        report("calibration", rows)
        report("sandwich", sandwich(run, local, counts, truth[:some]))


if __name__ == "__main__":
    main()
