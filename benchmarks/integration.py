"""Batches and partial labels: our GMVAE beside scvi-tools' SCVI and SCANVI, and Harmony on PCA.

    python benchmarks/integration.py [FILE.h5ad:BATCH:LABEL ...] [--seeds 3] [--shared FOLDER]

Everything sees the same features and, where there is a likelihood, the same split; all train by
their own defaults. The model of a batch is told the column BATCH; SCVI gets it as ``batch_key``.
Labels are never seen in training, but for the contenders with partial labels, who see a tenth of
them. Scores: the importance-weighted log-likelihood of held-out observations given the batch (100
draws), the ARI and NMI of groups against LABEL (our components; k-means of the others' latents),
iLISI and the batch silhouette within labels of the latents, accuracy on the hidden labels, and
its expected calibration error. Each fit adds its record to ``results/integration.jsonl``, and a fit
that has a record is not repeated. It needs scvi-tools and harmonypy.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mixtures import LATENTS, SAMPLES, scvi_bound
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tables import RESULTS, report

from vae4counts.data import classes_of, load, random_split, top_features
from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory, settled_objects
from vae4counts.inference.posterior.integration import batch_silhouette, ilisi
from vae4counts.models import GMVAE, Covariates, Labels
from vae4counts.models.priors import GaussianMixture

RECORDS = RESULTS / "integration.jsonl"
TOP_FEATURES = 4096
KNOWN_SHARE = 0.1
NO_LABEL = ("unassigned", "unknown")
HIDDEN = "hidden"


@dataclass(frozen=True)
class Task:
    """What a contender is given.

    Attributes:
        adata: Counts; ``obs["partial"]`` has a tenth of the labels.
        batch: The column of ``obs`` that the model is told; None for none.
        labels: The known class of each observation, NaN where there is none.
        seed: Seed of the split, the parameters and the order.
    """

    adata: AnnData
    batch: str | None
    labels: pd.Series
    seed: int

    @property
    def n_labels(self) -> int:
        """The number of classes."""
        return self.labels.nunique()


@dataclass(frozen=True)
class Fitted:
    """What a contender says of all observations.

    Attributes:
        latents: A point for each.
        seconds: Seconds of the fit.
        iw: Importance-weighted log-likelihood of held-out observations in nats; None without one.
        groups: A group for each; None to take those of k-means of the latents.
        predicted: Probabilities of the classes, by their names; None without a prediction.
    """

    latents: np.ndarray
    seconds: float
    iw: float | None = None
    groups: np.ndarray | None = None
    predicted: pd.DataFrame | None = None


def gmvae(task: Task, *, told: bool = True, partial: bool = False) -> Fitted:
    """Fit our GMVAE with as many components as classes."""
    covariates = Covariates.of(task.adata, [task.batch]) if told and task.batch else None
    labels = Labels.of(task.adata, "partial", ignored=[HIDDEN]) if partial else None
    prior = GaussianMixture(LATENTS, task.n_labels)
    model = GMVAE(task.adata.n_vars, prior, covariates=covariates, labels=labels)
    keep_freed_memory()
    began = time.perf_counter()
    with settled_objects():
        run = fit(model, guide_for(model), task.adata, seed=task.seed, progress=False)
    seconds = time.perf_counter() - began
    iw = run.evaluate(task.adata, num_samples=SAMPLES).iw_log_likelihood
    noted = task.adata.copy()
    run.annotate(noted)
    shares = noted.obsm["responsibilities"]
    return Fitted(
        noted.obsm["X_vae"],
        seconds,
        iw,
        shares.argmax(1),
        pd.DataFrame(shares, columns=labels.classes) if labels is not None else None,
    )


def scvi(task: Task, *, partial: bool = False) -> Fitted:
    """Train SCVI, told the batch; with partial labels SCANVI from it."""
    import scvi as tools

    tools.settings.seed, tools.settings.verbosity = task.seed, 0
    adata = task.adata.copy()
    tools.model.SCVI.setup_anndata(adata, batch_key=task.batch)
    model = tools.model.SCVI(adata, n_hidden=128, n_latent=LATENTS, gene_likelihood="nb")
    split = random_split(adata.n_obs, validation=0.1, test=0.1, seed=task.seed)
    parts = [split.train, split.validation, split.test]
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
    }
    began = time.perf_counter()
    if not partial:
        model.train(datasplitter_kwargs={"external_indexing": parts}, **options)
        seconds = time.perf_counter() - began
        return Fitted(model.get_latent_representation(), seconds, scvi_bound(model, split.test))
    model.train(**options)
    annotated = tools.model.SCANVI.from_scvi_model(
        model, unlabeled_category=HIDDEN, labels_key="partial"
    )
    annotated.train(**options)
    seconds = time.perf_counter() - began
    found = annotated.predict(soft=True).reset_index(drop=True)
    return Fitted(annotated.get_latent_representation(), seconds, predicted=found)


def harmony(task: Task) -> Fitted:
    """Run Harmony on 50 principal components of log counts per ten thousand."""
    import harmonypy

    began = time.perf_counter()
    counts = task.adata.X.toarray()
    scaled = np.log1p(counts / counts.sum(1, keepdims=True).clip(1) * 1e4)
    points = PCA(min(50, *scaled.shape), random_state=task.seed).fit_transform(scaled)
    found = harmonypy.run_harmony(
        points, task.adata.obs, task.batch, random_state=task.seed, verbose=False
    ).Z_corr
    latents = np.asarray(found)
    latents = latents if len(latents) == len(points) else latents.T
    return Fitted(latents, time.perf_counter() - began)


CONTENDERS: dict[str, Callable[[Task], Fitted]] = {
    "GMVAE": gmvae,
    "GMVAE, not told": lambda task: gmvae(task, told=False),
    "SCVI": scvi,
    "Harmony": harmony,
    "GMVAE, partial labels": lambda task: gmvae(task, partial=True),
    "SCANVI": lambda task: scvi(task, partial=True),
}


def record(fitted: Fitted, task: Task) -> dict[str, object]:
    """Return the scores of a fit."""
    known = task.labels.notna().to_numpy()
    labels = task.labels[known]
    n = task.n_labels
    groups = fitted.groups
    if groups is None:
        groups = KMeans(n, n_init=10, random_state=0).fit_predict(fitted.latents)
    scores: dict[str, object] = {
        "held-out": fitted.iw,
        "ARI": adjusted_rand_score(labels, groups[known]),
        "NMI": normalized_mutual_info_score(labels, groups[known]),
        "seconds": fitted.seconds,
    }
    if task.batch:
        batches = task.adata.obs[task.batch].astype(str).to_numpy()
        scores["iLISI"] = ilisi(fitted.latents, batches)
        scores["batch silhouette"] = batch_silhouette(
            fitted.latents[known], batches[known], labels.to_numpy()
        )
    if fitted.predicted is not None:
        hidden = known & (task.adata.obs["partial"] == HIDDEN).to_numpy()
        scores |= prediction_scores(fitted.predicted[hidden], task.labels[hidden])
    return scores


def prediction_scores(predicted: pd.DataFrame, labels: pd.Series) -> dict[str, object]:
    """Return the accuracy and the expected calibration error in 15 bins (Guo et al. 2017)."""
    right = (predicted.idxmax(axis=1).to_numpy() == labels.to_numpy()).astype(float)
    confidence = predicted.max(axis=1).to_numpy()
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return {"accuracy": right.mean(), "calibration error": sum(gaps)}


def task_of(adata: AnnData, batch: str | None, label: str, seed: int) -> Task:
    """Hide nine labels in ten."""
    labels = classes_of(adata.obs[label])
    labels = labels.where(~labels.str.lower().isin(NO_LABEL)).reset_index(drop=True)
    shown = np.random.default_rng(seed).random(len(labels)) < KNOWN_SHARE
    adata = adata.copy()
    adata.obs["partial"] = labels.where(labels.notna() & shown, HIDDEN).to_numpy()
    return Task(adata, batch, labels, seed)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="FILE:BATCH:LABEL; BATCH may be empty")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = RECORDS.read_text().splitlines() if RECORDS.exists() else []
    records = [json.loads(line) for line in lines]
    done = {(r["data"], r["contender"], r["seed"]) for r in records}
    for seed in range(asked.seeds):
        for source in asked.data:
            path, batch, label = source.rsplit(":", 2)
            adata = top_features(load(path), TOP_FEATURES)
            task = task_of(adata, batch or None, label, seed)
            for name in asked.contenders:
                key = {"data": Path(path).stem, "contender": name, "seed": seed}
                if tuple(key.values()) in done or (name == "Harmony" and not batch):
                    continue
                torch.manual_seed(seed)
                row = key | record(CONTENDERS[name](task), task)
                with RECORDS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                records.append(row)
                print(row, flush=True)
    table = pd.DataFrame(records).drop(columns="seed").groupby(["data", "contender"], sort=False)
    means, spreads = table.mean(), table.std()
    rows = [
        {"data": data, "contender": contender, "seeds": int(table.size()[data, contender])}
        | {
            name: f"{value:,.3f} ± {spreads.loc[(data, contender), name]:.3f}"
            for name, value in row.dropna().items()
        }
        for (data, contender), row in means.iterrows()
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    report("integration", [{name: row.get(name, "") for name in columns} for row in rows])


if __name__ == "__main__":
    main()
