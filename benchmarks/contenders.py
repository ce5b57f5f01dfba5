"""What is compared: our VAE, scvi-tools' SCVI, and the matrix products alone.

All have scVI's size: a hidden layer of 128, 10 latents, a negative binomial with a dispersion per
feature, the observed library size, Adam at 1e-3. Speeds are of training alone, without set-up and
validation, and leave out each contender's first epoch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from anndata import AnnData

from vae4counts.data import CountLoader
from vae4counts.guides import guide_for
from vae4counts.inference import (
    Compute,
    Run,
    Schedule,
    fit,
    keep_freed_memory,
    settled_objects,
)
from vae4counts.inference.fitting.options import Precision
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.models import VAE
from vae4counts.models.networks import SparseLinear

HIDDEN = 128
TRAINING = 0.8


@dataclass(frozen=True)
class Result:
    """The result of training.

    Attributes:
        speed: Observations a second.
        elbo: Held-out ELBO after the epochs, nats per observation.
    """

    speed: float
    elbo: float = float("nan")


def fitted(
    adata: AnnData,
    model: VAE,
    guide: str | None,
    batch_size: int,
    epochs: int,
    precision: Precision,
) -> Run:
    """Fit one of our pairs on the CPU as the command line does, without a KL warm-up."""
    keep_freed_memory()
    with settled_objects():
        return fit(
            model,
            guide_for(model, guide),
            adata,
            epochs=epochs,
            batch_size=batch_size,
            progress=False,
            device="cpu",
            schedule=Schedule(warm_up_steps=0),
            compute=Compute(precision=precision),
        )


def ours(adata: AnnData, batch_size: int, epochs: int, precision: Precision = "32-true") -> Result:
    """Train our VAE."""
    torch.manual_seed(0)
    run = fitted(adata, VAE(adata.n_vars), None, batch_size, epochs, precision)
    seconds = statistics.median(run.history.seconds[1:])
    return Result(len(run.split.train) / seconds, run.evaluate(adata, num_samples=5).elbo)


def scvi(adata: AnnData, batch_size: int, epochs: int) -> Result:
    """Train scvi-tools' SCVI, with its own training plan and loader."""
    import scvi as tools

    tools.settings.seed = 0
    tools.settings.verbosity = 0
    tools.model.SCVI.setup_anndata(adata)
    model = tools.model.SCVI(adata, n_hidden=HIDDEN, gene_likelihood="nb")
    options = {
        "batch_size": batch_size,
        "train_size": TRAINING,
        "validation_size": 0.1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
        "plan_kwargs": {"n_epochs_kl_warmup": None},
    }
    model.train(max_epochs=1, **options)
    started = time.perf_counter()
    model.train(max_epochs=epochs - 1, **options)
    seconds = (time.perf_counter() - started) / (epochs - 1)
    elbo = -abs(float(model.get_elbo(indices=model.test_indices)))
    return Result(len(model.train_indices) / seconds, elbo)


def floor(adata: AnnData, batch_size: int, precision: Precision | None = None) -> Result:
    """Time what such training cannot avoid: the products of the two large layers, and Adam.

    Args:
        adata: Counts.
        batch_size: Observations a step.
        precision: Whose products to use: those of our fit at that precision, or torch's own if
            None.
    """
    keep_freed_memory()
    batch = next(iter(CountLoader(adata, batch_size=batch_size)))
    size = len(batch)
    encoder = SparseLinear(adata.n_vars, HIDDEN)
    decoder = torch.nn.Linear(HIDDEN, adata.n_vars, bias=False)
    hidden, above = torch.randn(size, HIDDEN, requires_grad=True), torch.randn(size, adata.n_vars)
    above_encoder = torch.randn(size, HIDDEN)
    optimiser = torch.optim.Adam([encoder.weight, decoder.weight], fused=True)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")

    def step() -> None:
        optimiser.zero_grad()
        with half:
            outputs = decoder(hidden)
        outputs.float().backward(above)
        encoder(batch.counts).backward(above_encoder)
        optimiser.step()

    with nullcontext() if precision is None else fast_products():
        return Result(size / seconds_of(step))


def seconds_of(step: Callable[[], None], repeats: int = 60) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
