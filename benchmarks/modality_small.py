"""Small tables: microbes of oaks, and the omics of breast cancers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from anndata import AnnData
from modality_scores import PART, SAMPLES, Scores, conditional, fitted, rows_of, split_in

from vae4counts.data import load
from vae4counts.models import Covariates, Labels, Modality, MultiVAE
from vae4counts.models.likelihoods import Gaussian

OAKS = {"bacteria": "X", "fungi": "obsm/fungi"}
OMICS = {"rna": "X", "mirna": "obsm/mirna", "protein": "obsm/protein_rppa"}
HIDDEN = "hidden"
VALIDATION = 0.1


def read_oaks(folder: Path, seed: int) -> AnnData:
    """Load the leaves; a fifth of them is held out."""
    adata = load(folder / "oaks.h5ad")
    split_in(adata, seed, test=0.2)
    return adata


def oaks(adata: AnnData, seed: int, *, tables: Sequence[str] = tuple(OAKS)) -> Scores:
    """Fit bacteria, fungi or both, each with its own totals, told the tree.

    Posteriors are refined: of a hundred leaves an encoder learns too little to measure a model by.
    """
    sizes = {"bacteria": adata.n_vars, "fungi": adata.obsm["fungi"].shape[1]}
    model = MultiVAE(
        {name: Modality(sizes[name]) for name in tables},
        covariates=Covariates.of(adata, ["tree"]),
    )
    run, scores = fitted(model, adata, {name: OAKS[name] for name in tables}, seed)
    scores["held-out"] = run.evaluate(adata, num_samples=SAMPLES).iw_log_likelihood
    scores["held-out, refined"] = run.evaluate(
        adata, num_samples=SAMPLES, refine=True
    ).iw_log_likelihood
    if len(tables) > 1:
        for of, given in (tables, reversed(tables)):
            scores |= conditional(run, adata, of, given, refine=True)
    return scores


def read_omics(folder: Path, seed: int) -> AnnData:
    """Load the tumours; the 70 without proteins are the test part, as they are for mixOmics."""
    adata = load(folder / "tcga_breast_mixomics_log.h5ad")
    part = np.where(adata.obs["split"].to_numpy() == "test", "test", "train").astype(object)
    training = np.flatnonzero(part == "train")
    random = np.random.default_rng(seed)
    part[random.choice(training, round(VALIDATION * len(training)), replace=False)] = "validation"
    adata.obs[PART] = part
    subtype = adata.obs["subtype"].astype(str)
    adata.obs["known"] = subtype.where(part != "test", HIDDEN).to_numpy()
    return adata


def omics(adata: AnnData, seed: int, *, seen: bool = False) -> Scores:
    """Fit three tables with the known subtypes, and predict the others by the components.

    Args:
        adata: The tumours.
        seed: The seed of the fit.
        seen: Whether the tumours without a subtype are among those of the training.
    """
    test = rows_of(adata, "test")
    labels = Labels.of(adata, "known", ignored=[HIDDEN])
    sizes = {"rna": adata.n_vars} | {
        name: adata.obsm[place.split("/")[1]].shape[1]
        for name, place in OMICS.items()
        if name != "rna"
    }
    model = MultiVAE(
        {name: Modality(size, Gaussian()) for name, size in sizes.items()},
        labels=labels,
    )
    data = adata
    if seen:
        data = adata.copy()
        part = data.obs[PART].to_numpy(dtype=object, copy=True)
        part[test[1:]] = "train"  # a fit needs a test part, which this one does not use
        data.obs[PART] = part
    run, scores = fitted(model, data, OMICS, seed)
    for name, refine in (("wrong of 70", False), ("wrong of 70, refined", True)):
        noted = data[test].copy()
        run.annotate(noted, refine=refine)
        predicted = np.asarray(labels.classes)[noted.obsm["responsibilities"].argmax(1)]
        scores[name] = float((predicted != noted.obs["subtype"].to_numpy()).sum())
    if not seen:
        scores["held-out"] = run.evaluate(data, num_samples=SAMPLES).iw_log_likelihood
    return scores


OAKS_CONTENDERS: dict[str, Callable[[AnnData, int], Scores]] = {
    "MultiVAE": oaks,
    "bacteria alone": partial(oaks, tables=["bacteria"]),
    "fungi alone": partial(oaks, tables=["fungi"]),
}
OMICS_CONTENDERS: dict[str, Callable[[AnnData, int], Scores]] = {
    "MultiVAE": omics,
    "MultiVAE, the 70 seen without subtype": partial(omics, seen=True),
}
