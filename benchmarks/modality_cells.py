"""RNA and surface proteins of blood cells, beside models of one of them and scvi-tools' TOTALVI."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from modality_scores import PART, Scores, correlation, fitted, rows_of, split_in
from sklearn.metrics import adjusted_rand_score

from vae4counts.data import load
from vae4counts.inference import Run
from vae4counts.models import Covariates, Modality, MultiVAE
from vae4counts.models.likelihoods import NegativeBinomialBackground
from vae4counts.models.multi import LATENTS_PER_TABLE
from vae4counts.models.priors import GaussianMixture

TABLES = {"rna": "X", "protein": "obsm/protein"}
LABEL, NO_LABEL = "trueType", "unknown"
SAMPLES = 100
HELD_OUT = 0.1
SECOND, FIRST = "5k", "10k"


def read(folder: Path, seed: int) -> AnnData:
    """Load the cells; a tenth of them is held out."""
    adata = load(folder / "citeseq_pbmc10k.h5ad")
    adata.uns[SECOND] = str(folder / "citeseq_pbmc5k.h5ad")
    split_in(adata, seed, test=HELD_OUT)
    return adata


def modalities(adata: AnnData, background: bool) -> dict[str, Modality]:
    """Return the two tables: proteins with a background have no library size, as in totalVI."""
    n = adata.obsm["protein"].shape[1]
    protein = Modality(n, NegativeBinomialBackground(), library=None) if background else Modality(n)
    return {"rna": Modality(adata.n_vars), "protein": protein}


def mixture(adata: AnnData, n_tables: int) -> GaussianMixture:
    """Return a prior of as many components as labels, with ten latents for each table."""
    labels = adata.obs[LABEL].astype(str)
    n_components = labels[labels != NO_LABEL].nunique()
    return GaussianMixture(LATENTS_PER_TABLE * n_tables, n_components=n_components)


def ours(
    adata: AnnData,
    seed: int,
    *,
    tables: Sequence[str] = tuple(TABLES),
    background: bool = False,
) -> Scores:
    """Fit our model of some of the tables."""
    chosen = {name: each for name, each in modalities(adata, background).items() if name in tables}
    model = MultiVAE(chosen, mixture(adata, len(chosen)))
    run, scores = fitted(model, adata, {name: TABLES[name] for name in tables}, seed)
    scores["held-out"] = run.evaluate(adata, num_samples=SAMPLES).iw_log_likelihood
    scores["ARI"] = component_ari(run, adata)
    return scores | (protein_scores(run, adata) if len(tables) > 1 else {})


def component_ari(run: Run, adata: AnnData) -> float:
    """Return the adjusted Rand index of all labelled cells' components."""
    noted = adata.copy()
    run.annotate(noted)
    labels = adata.obs[LABEL].astype(str).to_numpy()
    known = labels != NO_LABEL
    return adjusted_rand_score(labels[known], noted.obsm["responsibilities"].argmax(1)[known])


def protein_scores(run: Run, adata: AnnData) -> Scores:
    """Score held-out cells' proteins given their RNA, with and without their protein totals."""
    test = adata[rows_of(adata, "test")].copy()
    observed = test.obsm["protein"].toarray()
    look = run.interpret(test)
    scores = {"correlation": correlation(predicted(look, None), observed)}
    if run.model.modalities["protein"].library.scales:
        typical = float(np.exp(np.log(observed.sum(1)).mean()))
        scores["correlation, total not told"] = correlation(predicted(look, typical), observed)
    found = run.conditional_log_likelihoods(adata, "protein", ["rna"], SAMPLES)
    return scores | {
        "protein given rna": found["log_likelihood"].mean(),
        "protein given rna, by difference": found["by_difference"].mean(),
        "protein": found["marginal"].mean(),
        "k > 0.7": (found["pareto_k"] > 0.7).mean(),
    }


def predicted(look: Any, total: float | None) -> np.ndarray:
    """Return expected proteins of observations given RNA."""
    return look.predict(
        "protein", given=["rna"], num_samples=SAMPLES, library_size=total
    ).mean.to_numpy()


def two_batches(adata: AnnData, seed: int) -> Scores:
    """Fit both batches, the second without proteins, and score the held-out cells of each."""
    other = second(adata, seed)
    empty = sp.csr_matrix((other.n_obs, adata.obsm["protein"].shape[1]), dtype=np.int32)
    other.obsm["protein"] = empty
    other.obs[LABEL] = NO_LABEL
    both = anndata.concat({FIRST: adata, SECOND: other}, label="batch", index_unique="-")
    both.obs["has_protein"] = (both.obs["batch"] == FIRST).to_numpy()
    model = MultiVAE(
        modalities(adata, background=True),
        mixture(adata, len(TABLES)),
        covariates=Covariates.of(both, ["batch"]),
    )
    run, scores = fitted(model, both, TABLES, seed)
    parts = {
        batch: both[(both.obs["batch"] == batch) & (both.obs[PART] == "test")].copy()
        for batch in (FIRST, SECOND)
    }
    scores["held-out"] = run.evaluate(parts[FIRST], num_samples=SAMPLES).iw_log_likelihood
    scores["held-out 5k"] = run.evaluate(parts[SECOND], num_samples=SAMPLES).iw_log_likelihood
    scores["ARI"] = component_ari(run, both)
    look = run.interpret(parts[FIRST])
    scores["correlation"] = correlation(
        predicted(look, None), parts[FIRST].obsm["protein"].toarray()
    )
    return scores


def second(adata: AnnData, seed: int) -> AnnData:
    """Load the second batch, from beside the first; a tenth of it is held out."""
    other = load(adata.uns[SECOND])
    split_in(other, seed, test=HELD_OUT)
    return other


def second_alone(adata: AnnData, seed: int) -> Scores:
    """Fit the second batch's RNA by itself."""
    other = second(adata, seed)
    model = MultiVAE({"rna": Modality(other.n_vars)}, mixture(adata, 1))
    run, scores = fitted(model, other, {"rna": "X"}, seed)
    return scores | {"held-out 5k": run.evaluate(other, num_samples=SAMPLES).iw_log_likelihood}


def totalvi(adata: AnnData, seed: int, *, epochs: int | None = None) -> Scores:
    """Train TOTALVI, which takes the proteins of held-out cells for missing ones.

    They are a batch of their own, whose proteins are all zero: that is how TOTALVI is told. Their
    RNA is seen in training. Expected proteins are decoded as of the other batch.
    """
    import scvi as tools

    tools.settings.seed, tools.settings.verbosity = seed, 0
    test = rows_of(adata, "test")
    data = AnnData(adata.X.copy(), adata.obs.copy(), adata.var.copy())
    protein = adata.obsm["protein"].toarray()
    hidden = protein.copy()
    hidden[test] = 0
    data.obsm["protein"] = hidden
    data.obs["proteins"] = np.where(data.obs[PART] == "test", "hidden", "shown")
    tools.model.TOTALVI.setup_anndata(data, "protein", batch_key="proteins")
    model = tools.model.TOTALVI(data)
    began = time.perf_counter()
    model.train(
        epochs,
        accelerator="cpu",
        train_size=0.9,
        enable_progress_bar=False,
    )
    seconds = time.perf_counter() - began
    scores: Scores = {"seconds": seconds, "epochs": len(model.history["elbo_train"])}
    for name, included in (("correlation", True), ("correlation, foreground", False)):
        _, found = model.get_normalized_expression(
            indices=test,
            transform_batch="shown",
            n_samples=SAMPLES,
            include_protein_background=included,
            return_numpy=True,
        )
        scores[name] = correlation(found, protein[test])
    return scores


CONTENDERS: dict[str, Callable[[AnnData, int], Scores]] = {
    "RNA alone": partial(ours, tables=["rna"]),
    "proteins alone": partial(ours, tables=["protein"]),
    "MultiVAE": ours,
    "proteins alone, background": partial(ours, tables=["protein"], background=True),
    "MultiVAE, background": partial(ours, background=True),
    "MultiVAE, two batches": two_batches,
    "5k RNA alone": second_alone,
    "TOTALVI, 40 epochs": partial(totalvi, epochs=40),
    "TOTALVI": totalvi,
}
