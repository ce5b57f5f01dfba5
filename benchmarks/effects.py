"""How often intervals of covariates' effects cover the true ones, on simulated counts.

    python benchmarks/effects.py [--seeds 3]

1,200 observations of three kinds, of 100 features, in two batches and under some stress. 40 % of
the features have effects of the batch, 40 % of the stress; all counts are negative binomial.
*Mixed* batches have equal shares of the kinds, *unlike* ones .2, .5 and .8 of them, so that the
latents go with the batch. Intervals of 90 % reach 1.645 `covariate_errors` to either side, with
those of the training observations, which are four fifths of all.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from tables import report

from vae4counts.guides import guide_for
from vae4counts.inference import fit
from vae4counts.models import GMVAE, Covariates
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial, Poisson
from vae4counts.models.priors import GaussianMixture

N, G, TOTAL, DISPERSION = 1200, 100, 600, 2.0
SHARES = {"mixed": [0.5, 0.5, 0.5], "unlike": [0.2, 0.5, 0.8]}
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "negative binomial": NegativeBinomial,
    "Poisson": Poisson,
}


def simulate(seed: int, shares: list[float]) -> tuple[AnnData, dict[str, np.ndarray]]:
    """Return counts, and the true effects as log2 fold changes."""
    random = np.random.default_rng(seed)
    kind, stress = random.integers(3, size=N), random.normal(size=N)
    batch = random.random(N) < np.array(shares)[kind]
    true = {
        name: np.where(random.random(G) < 0.4, random.normal(0, size, G), 0.0)
        for name, size in (("batch=b", 0.8), ("stress", 0.4))
    }
    log2_rate = random.normal(0, 1, G) + true["batch=b"] * batch[:, None]
    log2_rate += true["stress"] * stress[:, None]
    log2_rate[:, 40:] += random.normal(0, 1.2, (3, 60))[kind]
    mean = TOTAL * 2**log2_rate / (2**log2_rate).sum(1, keepdims=True)
    counts = random.poisson(random.gamma(DISPERSION, mean / DISPERSION)).astype(np.float32)
    names = [f"cell{i}" for i in range(N)]
    obs = pd.DataFrame({"batch": np.array(["a", "b"])[batch.astype(int)], "stress": stress}, names)
    true["batch=b"] *= 1 - batch.mean()  # against the average level
    true["stress"] *= stress.std()
    return AnnData(counts, obs, pd.DataFrame(index=[f"gene{j}" for j in range(G)])), true


def covered(decoder: str, likelihood: Likelihood, shares: list[float], seed: int) -> list[float]:
    """Return the share of features whose intervals hold the true effect, of batch and stress."""
    adata, true = simulate(seed, shares)
    torch.manual_seed(seed)
    covariates = Covariates.of(adata, ["batch"], ["stress"])
    model = GMVAE(G, GaussianMixture(4, 3), likelihood, decoder, covariates=covariates)
    run = fit(model, guide_for(model), adata, seed=seed, progress=False)
    look = run.interpret(adata)
    effects = look.covariate_effects()
    errors = look.covariate_errors(n_training=len(run.split.train))
    found = []
    for name, wanted in true.items():
        away = effects[name] - wanted
        away -= away.median()  # what is the same for all features is no effect of one
        found.append(float((away.abs() < 1.645 * errors[name]).mean()))
    return found


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for decoder in ("linear", "mlp"):
        for called, likelihood in LIKELIHOODS.items():
            for batches, shares in SHARES.items():
                each = [covered(decoder, likelihood(), shares, s) for s in range(asked.seeds)]
                of_batch, of_stress = np.mean(each, 0)
                rows.append(
                    {
                        "decoder": decoder,
                        "likelihood": called,
                        "batches": batches,
                        "batch: covered": f"{of_batch:.2f}",
                        "stress: covered": f"{of_stress:.2f}",
                    }
                )
    report("effects", rows)


if __name__ == "__main__":
    main()
