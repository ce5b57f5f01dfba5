"""Seconds an epoch, beside scvi-tools' SCVI and beside the matrix products alone, in one run.

    python benchmarks/throughput.py --json benchmarks/results/throughput.json [--data FILE.h5ad]

The three train on the same arrays, in turn, several times; medians are reported. The network is
scVI's: a hidden layer of 128, 10 latents, a negative binomial with a dispersion per feature, the
observed library size, Adam at 1e-3. The floor is what no such training can do without: the matrix
products of the two large layers, the sparse ones at the cost of the non-zeros, and Adam's step.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from pathlib import Path

import torch
from anndata import AnnData
from made import made_counts

from vae4counts.data import CountLoader, CountMatrix, load
from vae4counts.guides import guide_for
from vae4counts.inference import fit
from vae4counts.models import VAE
from vae4counts.models.networks import SparseLinear

HIDDEN = 128


def ours(adata: AnnData, batch_size: int, epochs: int, seed: int) -> tuple[float, float]:
    """Observations a second and held-out ELBO of our VAE."""
    torch.manual_seed(seed)
    model = VAE(adata.n_vars)
    run = fit(
        model,
        guide_for(model),
        adata,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        warm_up_steps=0,
        progress=False,
        device="cpu",
    )
    return run.metrics["observations_per_second"], run.evaluate(adata, num_samples=5).elbo


def scvi(adata: AnnData, batch_size: int, epochs: int, seed: int) -> tuple[float, float]:
    """Observations a second and held-out ELBO of scvi-tools' SCVI."""
    import scvi as tools

    tools.settings.seed = seed
    tools.settings.verbosity = 0
    tools.model.SCVI.setup_anndata(adata)
    model = tools.model.SCVI(adata, n_hidden=HIDDEN, gene_likelihood="nb")
    options = {
        "batch_size": batch_size,
        "train_size": 0.8,
        "validation_size": 0.1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
        "plan_kwargs": {"n_epochs_kl_warmup": None},
    }
    model.train(max_epochs=1, **options)
    started = time.perf_counter()
    model.train(max_epochs=epochs - 1, **options)
    seconds = time.perf_counter() - started
    elbo = -abs(float(model.get_elbo(indices=model.test_indices)))
    return len(model.train_indices) * (epochs - 1) / seconds, elbo


def floor(adata: AnnData, batch_size: int) -> float:
    """Observations a second of the matrix products and Adam alone."""
    loader = CountLoader(CountMatrix.from_anndata(adata), batch_size=batch_size)
    batch = next(iter(loader))
    n_features = adata.n_vars
    encoder = SparseLinear(n_features, HIDDEN)
    decoder = torch.nn.Parameter(torch.randn(n_features, HIDDEN) * 0.01)
    hidden, above = torch.randn(batch_size, HIDDEN), torch.randn(batch_size, n_features)
    optimiser = torch.optim.Adam([encoder.weight, decoder], fused=True)

    def step() -> None:
        optimiser.zero_grad()
        encoder(batch.counts).backward(hidden)
        hidden @ decoder.T
        above @ decoder
        decoder.grad = above.T @ hidden
        optimiser.step()

    return batch_size / seconds_of(step)


def seconds_of(step: object, repeats: int = 50) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def row(name: str, adata: AnnData, batch_size: int, epochs: int, repeats: int) -> dict[str, object]:
    """One row of the table."""
    results = {"ours": [], "scvi": [], "floor": []}
    for seed in range(repeats):
        results["ours"].append(ours(adata, batch_size, epochs, seed))
        results["scvi"].append(scvi(adata, batch_size, epochs, seed))
        results["floor"].append((floor(adata, batch_size), 0.0))
    speed = {key: statistics.median(r[0] for r in value) for key, value in results.items()}
    elbo = {key: statistics.median(r[1] for r in results[key]) for key in ("ours", "scvi")}
    return {
        "data": name,
        "batch": batch_size,
        "seconds an epoch": 0.8 * adata.n_obs / speed["ours"],
        "observations a second": speed["ours"],
        "SCVI's": speed["scvi"],
        "times SCVI": speed["ours"] / speed["scvi"],
        "times the floor's time": speed["floor"] / speed["ours"],
        "ELBO": elbo["ours"],
        "SCVI's ELBO": elbo["scvi"],
    }


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a real data set, beside the made ones")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    small = made_counts(20_000, 4_096, 0.08)
    wide = made_counts(6_000, 32_738, 0.03)
    cases = [
        ("20,000 x 4,096", small, 128),
        ("20,000 x 4,096", small, 512),
        ("6,000 x 32,738", wide, 128),
    ]
    if arguments.data:
        real = load(arguments.data)
        cases.append((f"{Path(arguments.data).name}, {real.n_obs:,} x {real.n_vars:,}", real, 128))
    rows = [row(*case, arguments.epochs, arguments.repeats) for case in cases]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\n{machine}, float32\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for each in rows:
        print(
            "| "
            + " | ".join(f"{v:,.2f}" if isinstance(v, float) else str(v) for v in each.values())
            + " |"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
