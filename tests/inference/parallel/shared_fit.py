"""What each process of test_processes.py does, under torchrun."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData

from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.inference import Checkpoints, Run, fit
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.parallel.processes import Processes
from vae4counts.models import GMVAE, VAE, Covariates, Labels, Model
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture, StandardNormal

N_FEATURES = 7
# batches of 32, 32 and 17 of 81; 10 to validate, 10 to test; batches of 9 leave one of 1
N_OBSERVATIONS = 101


def made_data() -> AnnData:
    """Two groups of observations."""
    rng = np.random.default_rng(1)
    group = rng.integers(2, size=N_OBSERVATIONS)
    rates = np.array([[4, 4, 4, 0.3, 0.3, 0.3, 1], [0.3, 0.3, 0.3, 4, 4, 4, 1]])
    adata = AnnData(sp.csr_matrix(rng.poisson(rates[group]).astype(np.float32)))
    adata.obs["group"] = np.array(["a", "b"])[group]
    adata.obs["site"] = np.array(["x", "y", "z"])[np.arange(N_OBSERVATIONS) % 3]
    adata.obs["known"] = adata.obs["group"].where(np.arange(N_OBSERVATIONS) % 3 == 0)
    return adata


def made_pair(kind: str) -> tuple[Model, Guide]:
    """A pair of one of the kinds that training treats differently; dropout is on in all."""
    torch.manual_seed(3)
    if kind == "plain":
        model: Model = VAE(N_FEATURES, StandardNormal(2), library="latent")
        return model, guide_for(model)
    prior = GaussianMixture(2, 3, concentration=0.9)  # with a site outside the plate
    covariates = Covariates.of(made_data(), ["site"])
    labels = Labels("known", ["a", "b"]) if kind == "labelled" else None
    likelihood = NegativeBinomial(by="site")
    model = GMVAE(N_FEATURES, prior, likelihood, covariates=covariates, labels=labels)
    guide = {"marginal": "marginal", "joint": "joint", "labelled": "marginal"}[kind]
    return model, guide_for(model, guide, Encoder((16,), covariates=covariates))


def shared_fit(kind: str, batch_size: int = 32, **more: Any) -> tuple[Run, AnnData, Any]:
    """Fits, evaluates and annotates, and keeps every step's loss."""
    losses: list[float] = []
    take = Steps.take

    def noting(self: Steps, batch: Any) -> Any:
        loss = take(self, batch)
        assert loss is not None
        losses.append(loss.item())
        return loss

    Steps.take = noting  # type: ignore[method-assign]
    try:
        adata = made_data()
        model, guide = made_pair(kind)
        settings = {"epochs": 6, "batch_size": batch_size, "label": "group", "seed": 5}
        run = fit(model, guide, adata, progress=False, **settings, **more)
    finally:
        Steps.take = take  # type: ignore[method-assign]
    run.evaluate(adata, num_samples=20)
    run.annotate(adata)
    return run, adata, losses


def result_of(kind: str, batch_size: int = 32, **more: Any) -> dict[str, Any]:
    """What there is to compare, as JSON values."""
    run, adata, losses = shared_fit(kind, batch_size, **more)
    measured = {k: v for k, v in run.metrics.items() if "second" not in k and v is not None}
    weights = {**run.model.state_dict(), **run.guide.state_dict()}
    return {
        "losses": losses,
        "train_elbo": run.history["train_elbo"].tolist(),
        "validation_elbo": run.history["validation_elbo"].tolist(),
        "metrics": measured,
        "means": adata.obsm["X_vae"].tolist(),
        "components": adata.obs["component"].tolist() if "component" in adata.obs else [],
        "weights": {name: value.double().sum().item() for name, value in weights.items()},
    }


CASES = [("plain", 32), ("marginal", 32), ("labelled", 32), ("joint", 20), ("plain", 80)]


def main(out: str) -> None:
    """Leave a file of results for each process, then kill the last of them in a fit."""
    warnings.simplefilter("ignore")
    here = Processes.here()
    results = {f"{kind}-{size}": result_of(kind, size) for kind, size in CASES}
    stopped = Checkpoints(Path(out) / "stopped", resume=True)
    results["resumed"] = result_of("plain", checkpoints=stopped)
    path = Path(out) / f"{here.rank}-of-{here.number}.json"
    path.write_text(json.dumps(results))
    end = kill_it if here.rank == here.number - 1 else lambda: None
    stopped_fit(Path(out) / "dead", end)


def stopped_fit(checkpoints: Path, end: Callable[[], None]) -> None:
    """A fit that ends before its eighth step, with a checkpoint after its sixth."""
    take = Steps.take

    def failing(self: Steps, batch: Any) -> Any:
        if self.taken == 7:
            end()
        return take(self, batch)

    Steps.take = failing  # type: ignore[method-assign]
    try:
        shared_fit("plain", checkpoints=Checkpoints(checkpoints, 3))
    finally:
        Steps.take = take  # type: ignore[method-assign]


def give_up() -> None:
    raise ArithmeticError("the last process gives up")


def kill_it() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
