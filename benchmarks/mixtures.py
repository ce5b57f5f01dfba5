"""Mixtures beside the plain VAE and scvi-tools' SCVI: likelihood, clusters, collapse.

    python benchmarks/mixtures.py FILE.h5ad:LABEL [...] [--seeds 5] [--contenders "GMVAE, K" ...]

All see the same features, split and latent size. A seed makes the split, the parameters and the
order. All are trained by their own defaults (SCVI for up to 400 epochs); SCVI returns to its best
state as ours do. Labels are never seen in training; clusters are scored on all observations that
have one. Each fit adds its record to
``results/mixtures.jsonl``, and a fit that has a record is not repeated: after a change of code,
remove its records first.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn import mixture
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tables import RESULTS, machine, markdown, report

from vae4counts.data import Split, load, random_split, top_features
from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory, settled_objects
from vae4counts.models import GMVAE, VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal

LATENTS = 10
SAMPLES = 100
SPARSE = 0.1
NO_LABEL = {"unassigned", "unknown", "nan"}


@dataclass(frozen=True)
class Fitted:
    """What a contender reports about the data.

    Attributes:
        iw: Importance-weighted log-likelihood of held-out observations, nats per observation.
        latents: Means of q(z | x) of all observations.
        components: The most responsible component of each observation; None without any.
        used: Components that hold over 1 % of the held-out responsibility.
        perplexity: Exponential of the entropy of the mean responsibilities.
        epochs: Epochs trained.
        seconds: Seconds of the fit.
    """

    iw: float
    latents: np.ndarray
    components: np.ndarray | None
    used: int | None
    perplexity: float | None
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """What a contender is given.

    Attributes:
        adata: Counts.
        n_labels: Number of known classes.
        seed: Seed of the split, the parameters and the order.
    """

    adata: AnnData
    n_labels: int
    seed: int

    def gmvae(
        self, times: int = 1, guide: str | None = None, concentration: float | None = None
    ) -> Fitted:
        """Our GMVAE with ``times`` as many components as labels."""
        n = times * self.n_labels
        prior = GaussianMixture(LATENTS, n, concentration=concentration)
        return self.ours(GMVAE(self.adata.n_vars, prior), guide)

    def vae(self) -> Fitted:
        """Our VAE."""
        return self.ours(VAE(self.adata.n_vars, StandardNormal(LATENTS)), None)

    def ours(self, model: VAE, guide: str | None) -> Fitted:
        """One of our pairs, with the defaults of `fit`."""
        keep_freed_memory()
        with settled_objects():
            run = fit(model, guide_for(model, guide), self.adata, seed=self.seed, progress=False)
        result = run.evaluate(self.adata, num_samples=SAMPLES)
        noted = self.adata.copy()
        run.annotate(noted)
        return Fitted(
            iw=result.iw_log_likelihood,
            latents=noted.obsm["X_vae"],
            components=np.asarray(noted.obs["component"]) if "component" in noted.obs else None,
            used=result.components_used,
            perplexity=result.component_perplexity,
            epochs=run.metrics["epochs"],
            seconds=run.metrics["seconds"],
        )

    def scvi(self) -> Fitted:
        """scvi-tools' SCVI, of the same size and split, at its best validation ELBO."""
        from scvi.train import SaveCheckpoint

        model, split, options = untrained_scvi(self.adata, self.seed)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            best = SaveCheckpoint(dirpath=folder, monitor="elbo_validation", load_best_on_end=True)
            model.train(callbacks=[best], **options)
        return Fitted(
            iw=scvi_bound(model, split.test),
            latents=model.get_latent_representation(),
            components=None,
            used=None,
            perplexity=None,
            epochs=len(model.history["elbo_validation"]),
            seconds=time.perf_counter() - started,
        )


def untrained_scvi(adata: AnnData, seed: int) -> tuple[Any, Split, dict[str, Any]]:
    """Return SCVI of our size, our split, and the options for its `train` to use that silently."""
    import scvi as tools

    tools.settings.seed = seed
    tools.settings.verbosity = 0
    adata = adata.copy()
    tools.model.SCVI.setup_anndata(adata)
    model = tools.model.SCVI(adata, n_hidden=128, n_latent=LATENTS, gene_likelihood="nb")
    split = random_split(adata.n_obs, validation=0.1, test=0.1, seed=seed)
    parts = [split.train, split.validation, split.test]
    options = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
        "datasplitter_kwargs": {"external_indexing": parts},
    }
    return model, split, options


@torch.no_grad()
def scvi_bound(model: Any, indices: np.ndarray) -> float:
    """The importance-weighted bound from SCVI's own networks, as `Evaluation` defines it."""
    module = model.module.eval()
    torch.manual_seed(0)
    total = 0.0
    for tensors in model._make_data_loader(model.adata, indices=indices, batch_size=64):
        q = module.inference(**module._get_inference_input(tensors))["qz"]
        log_weights = []
        for _ in range(SAMPLES):
            z = q.rsample()
            inferred = {"z": z, "library": tensors["X"].sum(1, keepdim=True).log()}
            p = module.generative(**module._get_generative_input(tensors, inferred))
            log_p = p["px"].log_prob(tensors["X"]).sum(-1) + p["pz"].log_prob(z).sum(-1)
            log_weights.append((log_p - q.log_prob(z).sum(-1)).double())
        total += (torch.stack(log_weights).logsumexp(0) - math.log(SAMPLES)).sum().item()
    return total / len(indices)


REFERENCE, SPARSE_FITS, JOINT_FITS = "GMVAE, K", "GMVAE, 3K, sparse", "GMVAE, K, joint"
CONTENDERS: dict[str, Callable[[Task], Fitted]] = {
    REFERENCE: lambda task: task.gmvae(),
    SPARSE_FITS: lambda task: task.gmvae(3, concentration=SPARSE),
    "GMVAE, 3K": lambda task: task.gmvae(3),
    JOINT_FITS: lambda task: task.gmvae(guide="joint"),
    "VAE": Task.vae,
    "SCVI": Task.scvi,
}


def record(fitted: Fitted, labels: np.ndarray) -> dict[str, object]:
    """A fit's figures; clusters by its components, by k-means and by a Gaussian mixture."""
    known = ~np.isin(np.char.lower(labels), list(NO_LABEL))
    n = len(np.unique(np.char.lower(labels[known])))
    clusterings = {
        "components": fitted.components,
        "k-means": KMeans(n, n_init=10, random_state=0).fit_predict(fitted.latents),
        "Gaussian mixture": mixture.GaussianMixture(
            n, covariance_type="diag", n_init=5, random_state=0
        ).fit_predict(fitted.latents),
    }
    scores = {
        f"{score} {name}": None if of is None else float(function(labels[known], of[known]))
        for name, of in clusterings.items()
        for score, function in (
            ("ARI", adjusted_rand_score),
            ("NMI", normalized_mutual_info_score),
        )
    }
    of_fit = asdict(fitted)
    del of_fit["latents"], of_fit["components"]
    return {"labels": n, **of_fit, **scores}


def over_seeds(column: pd.Series) -> str:
    """Mean and standard deviation; nothing for what a contender does not have."""
    values = column.astype(float)
    digits = 1 if values.abs().max() > 2 else 3
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return "" if values.isna().any() else f"{values.mean():,.{digits}f}{spread}"


def table(records: pd.DataFrame) -> list[dict[str, object]]:
    """Means and standard deviations over seeds, a row for each data set and contender."""
    rows: list[dict[str, object]] = []
    for (data, contender), of in records.groupby(["data", "contender"], sort=False):
        row: dict[str, object] = {
            "data": data,
            "contender": contender,
            "labels": int(of.labels.iloc[0]),
        }
        row |= {"seeds": len(of)}
        for column in of.columns[4:]:
            row[column] = over_seeds(of[column])
        rows.append(row)
    return rows


def summary(records: pd.DataFrame) -> list[dict[str, object]]:
    """What matters most, a row for each data set: means over seeds and standard deviations.

    Contenders are compared on seeds that both have: the split, and so the likelihood, is a seed's.
    """
    rows: list[dict[str, object]] = []
    for data, of in records.groupby("data", sort=False):
        seeds = {name: fits.set_index("seed") for name, fits in of.groupby("contender")}
        ours, sparse = seeds[REFERENCE], seeds.get(SPARSE_FITS)
        row: dict[str, object] = {
            "data": data,
            "K": int(ours.labels.iloc[0]),
            "seeds": len(ours),
            "log-lik.": over_seeds(ours.iw),
        }
        for name in ("VAE", "SCVI", JOINT_FITS):
            if name in seeds:
                row[f"over the {name}"] = over_seeds((ours.iw - seeds[name].iw).dropna())
        row["ARI, components"] = over_seeds(ours["ARI components"])
        if "SCVI" in seeds:
            row["SCVI + k-means"] = over_seeds(seeds["SCVI"]["ARI k-means"])
        row["lowest perplexity / K"] = f"{(ours.perplexity / ours.labels).min():.2f}"
        if sparse is not None:
            row["sparse: used"] = ", ".join(str(int(used)) for used in sparse.used)
            row["its ARI"] = over_seeds(sparse["ARI components"])
        if JOINT_FITS in seeds:
            row["joint: used"] = ", ".join(str(int(used)) for used in seeds[JOINT_FITS].used)
            row["joint: ARI"] = over_seeds(seeds[JOINT_FITS]["ARI components"])
        rows.append(row)
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column, "") for column in columns} for row in rows]


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data", nargs="+", help="FILE:LABEL, where LABEL is a column of obs, or several joined by +"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--top-features", type=int, default=4096)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--records", type=Path, default=RESULTS / "mixtures.jsonl")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    for seed in range(arguments.seeds):
        for source in arguments.data:
            path, label = source.rsplit(":", 1)
            columns = label.split("+")
            name = " + ".join([Path(path).stem, *columns[1:]])
            adata = top_features(load(path), arguments.top_features)
            labels = adata.obs[columns].astype(str).agg(" ".join, axis=1).to_numpy().astype(str)
            n_labels = len(set(np.char.lower(labels)) - NO_LABEL)
            for contender in arguments.contenders:
                made = {(r["data"], r["contender"], r["seed"]): r for r in read(arguments.records)}
                if (name, contender, seed) in made:
                    continue
                torch.manual_seed(seed)
                fitted = CONTENDERS[contender](Task(adata, n_labels, seed))
                line = {"data": name, "contender": contender, "seed": seed}
                line |= record(fitted, labels)
                with arguments.records.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(line, flush=True)
    records = pd.DataFrame(read(arguments.records))
    print(markdown(summary(records)))
    report("mixtures", table(records))


def read(path: Path) -> list[dict[str, Any]]:
    """The records so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
