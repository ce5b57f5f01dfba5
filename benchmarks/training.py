"""Training with better posteriors: does any of it make a better model?

    python benchmarks/training.py FILE... [--seeds 1] [--epochs 10]

A default GMVAE is fitted to each file, as it is and with other encoders. Then the training of the
default one is continued for some epochs by other objectives; the epoch with the best refined ELBO
of the validation part is kept. The table has the refined ELBO (nats) of held-out observations, so
that models are compared and not guides, as a difference from the default's, and the seconds that
it took in multiples of the default's.

- `elbo`: the ELBO again, which tells what more training alone does.
- `importance weighted`: the bound by 8 draws (Burda et al. 2016) for model and guide.
- `refined`: the model learns from draws of posteriors that take some steps of refinement from where
  the guide puts them (Kim et al. 2018); the guide learns by the ELBO.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from anndata import AnnData
from pyro import poutine
from tables import report
from torch import Tensor

from vae4counts.data import Batch, CountLoader, Counts, load
from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.guides.local import site_values
from vae4counts.inference import Run, fit, keep_freed_memory
from vae4counts.inference.posterior import natural_gradient
from vae4counts.inference.posterior.draws import log_joint
from vae4counts.inference.posterior.evaluation import evaluate
from vae4counts.inference.posterior.refinement import frozen, refine
from vae4counts.models import GMVAE, Model

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "default": Encoder,
    "no dropout": lambda: Encoder(dropout=0.0),
    "wider encoder": lambda: Encoder(hidden=(512,)),
    "deeper encoder": lambda: Encoder(hidden=(256, 128)),
}
DRAWS = 8
STEPS = 8
LEARNING_RATE = 5e-4


def log_weights(model: Model, guide: Guide, batch: Batch, number: int) -> Tensor:
    """Return log p(x, z) - log q(z | x) of draws that gradients pass through, ``(S, B)``."""
    traces = [poutine.trace(guide).get_trace(batch) for _ in range(number)]
    for trace in traces:
        trace.compute_log_prob()
    names = guide.sites
    values = {name: torch.stack([t.nodes[name]["value"] for t in traces]) for name in names}
    log_q = [sum(t.nodes[name]["unscaled_log_prob"] for name in names) for t in traces]
    return log_joint(model, batch, values, number) - torch.stack(log_q)


def by_elbo(model: Model, guide: Guide, batch: Batch, _: Counts) -> Tensor:
    """Return the loss of the ELBO."""
    return -log_weights(model, guide, batch, 1).mean()


def by_weights(model: Model, guide: Guide, batch: Batch, _: Counts) -> Tensor:
    """Return the loss of the importance-weighted bound."""
    bound = log_weights(model, guide, batch, DRAWS).logsumexp(0) - math.log(DRAWS)
    return -bound.mean()


def by_refinement(model: Model, guide: Guide, batch: Batch, counts: Counts) -> Tensor:
    """Return the loss of a model by refined draws, and of its guide by the ELBO."""
    found = refine(model, guide, counts.subset(batch.index), advance=lambda _: None)
    values, _ = site_values(found.blocks, found.numbers(torch.arange(len(batch)), 1))
    of_model = -log_joint(model, batch, values, 1).mean()
    with frozen(model):
        return of_model + by_elbo(model, guide, batch, counts)


OBJECTIVES = {"elbo": by_elbo, "importance weighted": by_weights, "refined": by_refinement}


def quality(model: Model, guide: Guide, counts: Counts) -> float:
    """Return the refined ELBO of observations."""
    torch.manual_seed(0)
    model.eval(), guide.eval()
    found = refine(model, guide, counts, advance=lambda _: None)
    batches = CountLoader(counts, batch_size=128, shuffle=False)
    return evaluate(model, found, batches, num_samples=100).elbo


def continued(
    run: Run, counts: dict[str, Counts], objective: Callable[..., Tensor], epochs: int
) -> float:
    """Train on by an objective, and return the refined ELBO of the test part."""
    model, guide = deepcopy(run.model), deepcopy(run.guide)
    parameters = [*model.parameters(), *guide.parameters()]
    optimiser = torch.optim.Adam(parameters, LEARNING_RATE)
    best = quality(model, guide, counts["validation"])
    kept = deepcopy((model, guide))
    most = natural_gradient.MAX_STEPS
    for epoch in range(epochs):
        model.train(), guide.train()
        torch.manual_seed(epoch)
        natural_gradient.MAX_STEPS = STEPS  # in training
        for batch in CountLoader(counts["train"], batch_size=128, shuffle=True):
            optimiser.zero_grad()
            objective(model, guide, batch, counts["train"]).backward()
            optimiser.step()
        natural_gradient.MAX_STEPS = most
        found = quality(model, guide, counts["validation"])
        if found > best:
            best, kept = found, deepcopy((model, guide))
    return quality(*kept, counts["test"])


def measure(adata: AnnData, seed: int, epochs: int) -> dict[str, tuple[float, float]]:
    """Return refined ELBO and seconds of each way to train."""
    found = {}
    runs = {}
    for name, encoder in ENCODERS.items():
        torch.manual_seed(seed)
        model = GMVAE(adata.n_vars)
        guide = guide_for(model, encoder=encoder())
        began = time.perf_counter()
        runs[name] = fit(model, guide, adata, seed=seed, progress=False, device="cpu")
        seconds = time.perf_counter() - began
        counts = runs[name].on(adata).counts
        parts = {
            part: counts.subset(torch.as_tensor(getattr(runs[name].split, part)))
            for part in ("train", "validation", "test")
        }
        found[name] = quality(runs[name].model, runs[name].guide, parts["test"]), seconds
        print(name, *(f"{value:.2f}" for value in found[name]), flush=True)
    for name, objective in OBJECTIVES.items():
        began = time.perf_counter()
        value = continued(runs["default"], parts, objective, epochs)
        found[f"then {name}"] = value, found["default"][1] + time.perf_counter() - began
        print(name, *(f"{value:.2f}" for value in found[f"then {name}"]), flush=True)
    return found


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    table = []
    for path in arguments.data:
        adata = load(path)
        print(path.stem, flush=True)
        each = [measure(adata, seed, arguments.epochs) for seed in range(arguments.seeds)]
        default = statistics.mean(found["default"][0] for found in each)
        row: dict[str, object] = {"data": path.stem, "default": f"{default:.2f}"}
        for name in each[0]:
            if name != "default":
                gain = statistics.mean(f[name][0] - f["default"][0] for f in each)
                times = statistics.mean(f[name][1] / f["default"][1] for f in each)
                row[name] = f"{gain:+.2f} (x{times:.1f})"
        table.append(row)
    report("training", table)


if __name__ == "__main__":
    main()
