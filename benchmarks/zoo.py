"""All kinds of models on one table: log-likelihood, each count given all others, size, seconds.

    python benchmarks/zoo.py debd FOLDER [--sets nltcs dna ...] [--only chow-liu ...]
    python benchmarks/zoo.py counts FILE [--only ...] [--most-common 100] [--epochs 300] [--seed 0]

``debd`` takes the binary data sets of the density estimation benchmark, ``SET.{ts,valid,test}.npz``
of SciPy, with their own parts. ``counts`` takes a table of counts, of which a tenth is for
validation and a tenth for the test. Every model explains the counts *with* their total: none is
given a library size. Each is trained on the training part, stopped by the validation part after
``--epochs`` at the latest (on few observations VAEs take longer than `fit` gives them by default),
and measured on the test part; log-likelihoods that are not exact are importance-weighted bounds of
500 draws. A fit adds its record to ``results/zoo.jsonl`` and is not repeated: after a change of
code, remove its records first.

A registered joint model is on the table by its line in ``JOINT_MODELS``; what else is to be there,
or other options, is a line in ``CONTENDERS``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from tables import RESULTS, machine, markdown

from vae4counts.data import load
from vae4counts.guides import guide_for
from vae4counts.inference import SplitOptions, fit, keep_freed_memory
from vae4counts.models import GMVAE, VAE, CountMixture, MLPDecoder, Model
from vae4counts.models.joint import (
    JOINT_MODELS,
    AnyOrder,
    Autoregressive,
    Circuit,
    DiscreteFlow,
    LatentTree,
)
from vae4counts.models.likelihoods import Categorical, Likelihood
from vae4counts.models.priors import GaussianMixture, StandardNormal

RECORDS = RESULTS / "zoo.jsonl"
SETS = ("nltcs", "msnbc", "plants", "jester", "dna")
SAMPLES = 500
MOST_PREDICTED = 200
# mean test log-likelihoods: independent, a Chow-Liu tree, a hidden one (Liu & Van den Broeck 2021,
# mean of five), an Einsum network (Peharz et al. 2020)
PUBLISHED = {
    "nltcs": (-9.234, -6.759, -5.999, -6.02),
    "msnbc": (-6.770, -6.540, -6.058, -6.12),
    "plants": (-31.266, -16.524, -14.263, -13.68),
    "jester": (-63.883, -58.230, -52.463, -52.56),
    "dna": (-100.386, -87.680, -79.056, -96.09),
}


@dataclass(frozen=True)
class Data:
    """Counts with their parts in ``obs["part"]``, and what a model may know of them.

    Attributes:
        name: A name.
        adata: The counts.
        is_binary: Whether no count is above 1.
    """

    name: str
    adata: anndata.AnnData
    is_binary: bool

    @property
    def likelihood(self) -> Likelihood | None:
        """The likelihood of models that take one; None for their own."""
        return Categorical(2) if self.is_binary else None


@dataclass(frozen=True)
class Contender:
    """A model, and the options of its fit that are not the defaults."""

    make: Callable[[Data], Model]
    options: dict[str, Any] = field(default_factory=dict)


def joint(kind: type[Model], data: Data, **arguments: Any) -> Model:
    """Make a joint model, with the data's likelihood if it takes one, or their two states."""
    named = inspect.signature(kind).parameters
    if "likelihood" in named:
        arguments["likelihood"] = data.likelihood
    if "tail" in named and data.is_binary:
        arguments |= {"n_states": 2, "tail": None}
    return kind(data.adata.n_vars, **arguments)


def mixture(n_components: int, data: Data) -> Model:
    """A mixture of independent counts."""
    return CountMixture(data.adata.n_vars, n_components, data.likelihood, library=None)


def vae(n_latent: int, activation: str, data: Data) -> Model:
    """A VAE that explains the total counts as well."""
    decoder = MLPDecoder(activation=activation)
    return VAE(data.adata.n_vars, StandardNormal(n_latent), data.likelihood, decoder, library=None)


def gmvae(n_latent: int, n_components: int, activation: str, data: Data) -> Model:
    """The same with a Gaussian mixture as its prior."""
    prior, decoder = GaussianMixture(n_latent, n_components), MLPDecoder(activation=activation)
    return GMVAE(data.adata.n_vars, prior, data.likelihood, decoder, library=None)


CONTENDERS: dict[str, Contender] = {
    **{name: Contender(partial(joint, kind)) for name, kind in JOINT_MODELS.items()},
    "latent-tree": Contender(partial(joint, LatentTree), {"learning_rate": 3e-2}),
    "latent-tree, 16 states": Contender(
        partial(joint, LatentTree, n_states=16), {"learning_rate": 3e-2}
    ),
    "latent-tree, 32 states": Contender(
        partial(joint, LatentTree, n_states=32), {"learning_rate": 5e-2}
    ),
    "latent-tree, greedy": Contender(
        partial(joint, LatentTree, structure="greedy"), {"learning_rate": 3e-2}
    ),
    "latent-tree, binary": Contender(
        partial(joint, LatentTree, structure="binary"), {"learning_rate": 3e-2}
    ),
    "circuit": Contender(partial(joint, Circuit), {"learning_rate": 1e-1}),
    "circuit, random": Contender(
        partial(joint, Circuit, regions="random"), {"learning_rate": 1e-1}
    ),
    # as many epochs as three minutes are enough for
    "any-order": Contender(partial(joint, AnyOrder), {"epochs": 110}),
    "autoregressive": Contender(partial(joint, Autoregressive), {"learning_rate": 1e-2}),
    "autoregressive, one order": Contender(
        partial(joint, Autoregressive, n_orders=1), {"learning_rate": 1e-2}
    ),
    "discrete-flow": Contender(partial(joint, DiscreteFlow), {"learning_rate": 1e-2}),
    "count-mixture, 20": Contender(partial(mixture, 20)),
    "count-mixture, 50": Contender(partial(mixture, 50)),
    "vae, 5": Contender(partial(vae, 5, "softplus")),
    "vae, 10": Contender(partial(vae, 10, "softplus")),
    "vae, 20": Contender(partial(vae, 20, "softplus")),
    "vae, 5, relu": Contender(partial(vae, 5, "relu")),
    "vae, 10, relu": Contender(partial(vae, 10, "relu")),
    "gmvae, 10 and 10": Contender(partial(gmvae, 10, 10, "softplus")),
    "gmvae, 5 and 20, relu": Contender(partial(gmvae, 5, 20, "relu")),
}


def debd(folder: Path, name: str) -> Data:
    """Read a set of the density estimation benchmark."""
    named = {"train": "ts", "validation": "valid", "test": "test"}
    parts = {part: sparse.load_npz(folder / f"{name}.{end}.npz") for part, end in named.items()}
    adata = anndata.AnnData(sparse.vstack(list(parts.values())).tocsr().astype(np.float32))
    adata.obs["part"] = np.repeat(list(parts), [matrix.shape[0] for matrix in parts.values()])
    return Data(name, adata, is_binary=True)


def counts(file: str, most_common: int | None, seed: int) -> Data:
    """Read a table of counts, and split it."""
    adata = load(file)
    if most_common is not None:
        totals = np.asarray(adata.X.sum(0)).ravel()
        adata = adata[:, np.sort(totals.argsort()[-most_common:])].copy()
    n = adata.n_obs
    held_out = n // 10
    parts = np.repeat(["train", "validation", "test"], [n - 2 * held_out, held_out, held_out])
    adata.obs["part"] = np.random.default_rng(seed).permutation(parts)
    return Data(Path(file).stem, adata, is_binary=False)


def measure(data: Data, name: str, epochs: int | None) -> dict[str, Any]:
    """Fit a contender and return its record."""
    contender = CONTENDERS[name]
    model = contender.make(data)
    split = SplitOptions(column="part", min_counts=0)
    started = time.perf_counter()
    options = {"epochs": epochs, **contender.options}
    run = fit(model, guide_for(model), data.adata, split=split, progress=False, **options)
    seconds = time.perf_counter() - started
    # of models that are exact, those that can; of others where the counts are few enough
    predict = None if model.is_exact else data.adata.n_vars <= MOST_PREDICTED
    found = run.evaluate(data.adata, num_samples=SAMPLES, leave_one_out=predict)
    others = data.adata[data.adata.obs["part"] == "validation"].copy()
    validation = run.evaluate(others, num_samples=SAMPLES, leave_one_out=False)
    return {
        "data": data.name,
        "model": name,
        "log-likelihood": found.iw_log_likelihood,
        "se": found.iw_log_likelihood_se,
        "exact": found.log_likelihood is not None,
        "leave-one-out": found.leave_one_out,
        "its se": found.leave_one_out_se,
        "k > 0.7": found.leave_one_out_pareto_k_high,
        "validation": validation.iw_log_likelihood,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": seconds,
        "epochs": len(run.history),
        "machine": machine(),
    }


def records() -> list[dict[str, Any]]:
    """Return what was measured so far."""
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text().splitlines()]


def data_sets(options: argparse.Namespace) -> Iterator[Data]:
    """Yield the data that were asked for."""
    if options.kind == "debd":
        yield from (debd(options.place, name) for name in options.sets)
    else:
        yield counts(str(options.place), options.most_common, options.seed)


def shown(rows: list[dict[str, Any]]) -> str:
    """Return records of one data set as a table, the best first."""
    table = pd.DataFrame(rows).sort_values("log-likelihood", ascending=False)
    return markdown(
        [
            {
                "model": row["model"],
                "validation": f"{row['validation']:.3f}",
                "log-likelihood": f"{row['log-likelihood']:.3f} ± {row['se']:.3f}"
                + ("" if row["exact"] else " (bound)"),
                "leave-one-out": "not measured"
                if pd.isna(row["leave-one-out"])
                else f"{row['leave-one-out']:.3f} ± {row['its se']:.3f}",
                "parameters": int(row["parameters"]),
                "seconds": f"{row['seconds']:.0f}",
            }
            for _, row in table.iterrows()
        ]
    )


def chosen(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Return, for each binary data set, the model that is best on validation beside the best known.

    Args:
        rows: The records of each data set.
    """
    table = []
    for name, known in PUBLISHED.items():
        if records_of := rows.get(name):
            best = max(records_of, key=lambda row: row["validation"])
            table.append(
                {
                    "set": name,
                    "chosen by validation": best["model"],
                    "validation": f"{best['validation']:.3f}",
                    "test": f"{best['log-likelihood']:.3f} ± {best['se']:.3f}",
                    "best published column": f"{max(known):.3f}",
                }
            )
    return markdown(table)


def main() -> None:
    """Measure what has no record yet, and print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("debd", "counts"))
    parser.add_argument("place", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--most-common", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of observations without counts, collapsed mixtures
    keep_freed_memory()
    RESULTS.mkdir(exist_ok=True)
    for data in data_sets(options):
        done = {record["model"] for record in records() if record["data"] == data.name}
        for name in options.only:
            if name not in done:
                record = measure(data, name, options.epochs)
                with RECORDS.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        print(f"\n{data.name}\n")
        print(shown([record for record in records() if record["data"] == data.name]), flush=True)
    if options.kind == "debd":
        of_sets = {name: [r for r in records() if r["data"] == name] for name in options.sets}
        print(f"\n{chosen(of_sets)}")


if __name__ == "__main__":
    main()
