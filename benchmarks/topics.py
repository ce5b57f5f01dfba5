"""Priors and topics: held-out likelihood, and coherence beside scikit-learn's LDA and NMF.

    python benchmarks/topics.py FILE[:TOPICS] [...] [--epochs 30] [--seeds 1] [--most-features 2000]

A file is anything that `vae4counts.data.load` reads, or COCO's captions, ``captions_*.json.gz``,
of which the words are counted. Every VAE has as many latents as there are topics, the observed
library size, a negative binomial, and its other defaults. Log-likelihoods are importance-weighted
estimates by refined posteriors, which measure the model and not its guide. LDA and NMF are fitted
to all observations, since only their topics are measured. Coherence is the mean NPMI of each
topic's ten largest features in all observations; diversity is the share of these features that
are different ones. Each row is added to ``results/topics.jsonl`` as it is finished.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer
from tables import RESULTS, machine, markdown

from vae4counts.data import CountLoader, Counts, counts_of, load
from vae4counts.guides import guide_for
from vae4counts.inference import fit, keep_freed_memory
from vae4counts.inference.interpretation.topics import coherence
from vae4counts.models import VAE, Decoder, TopicDecoder
from vae4counts.models.priors import FlowPrior, GaussianMixture, StandardNormal, TopicPrior

TOP = 10


class ProductDecoder(TopicDecoder):
    """ProdLDA's product of experts: outputs are linear in the shares of the topics."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the topics' outputs."""
        return self.output(self.hidden_units(inputs))


class RandomStart(TopicDecoder):
    """A topic decoder that does not start at parts of the observations."""

    def build(self, n_latent: int, n_outputs: int, n_covariates: int = 0) -> None:
        """Draw the weights."""
        super().build(n_latent, n_outputs, n_covariates)
        torch.nn.init.normal_(self.output.weight)

    start = Decoder.start


VAES: dict[str, Callable[[int, int], VAE]] = {
    "standard normal, MLP": lambda g, k: VAE(g, StandardNormal(k)),
    "standard normal, linear": lambda g, k: VAE(g, StandardNormal(k), decoder="linear"),
    "Gaussian mixture, MLP": lambda g, k: VAE(g, GaussianMixture(k)),
    "flow, MLP": lambda g, k: VAE(g, FlowPrior(k)),
    "topics": lambda g, k: VAE(g, TopicPrior(k)),
    "topics, product": lambda g, k: VAE(g, TopicPrior(k), decoder=ProductDecoder()),
    "topics, random start": lambda g, k: VAE(g, TopicPrior(k), decoder=RandomStart()),
}
PEERS: dict[str, Callable[[int], Any]] = {
    "scikit-learn's LDA": lambda k: LatentDirichletAllocation(k, max_iter=20, random_state=0),
    "scikit-learn's NMF": lambda k: NMF(
        k,
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=200,
        random_state=0,
    ),
}


def read(path: Path) -> AnnData:
    """Read counts; words of captions that occur with ten images or more."""
    if not (path.name.startswith("coco_captions") and path.name.endswith(".json.gz")):
        return load(path)
    captions = defaultdict(list)
    for each in json.loads(gzip.decompress(path.read_bytes()))["annotations"]:
        captions[each["image_id"]].append(each["caption"])
    words = CountVectorizer(stop_words="english", min_df=10)
    texts = [" ".join(captions[image]) for image in sorted(captions)]
    adata = AnnData(words.fit_transform(texts).astype(np.float32))
    adata.var_names = words.get_feature_names_out()
    return adata


def chosen(adata: AnnData, most: int) -> AnnData:
    """Keep the most frequent features, and the observations that have any of them."""
    totals = np.asarray(adata.X.sum(0)).ravel()
    adata = adata[:, np.sort(np.argsort(-totals, kind="stable")[:most])]
    return adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy()


def measured(topics: np.ndarray, counts: Counts) -> dict[str, object]:
    """Return coherence and diversity of topics, ``(K, G)``."""
    tops = np.argsort(-topics, axis=1, kind="stable")[:, :TOP]
    found = coherence(tops, CountLoader(counts, shuffle=False))
    return {"coherence": float(found.mean()), "diversity": len(np.unique(tops)) / tops.size}


def peer(kind: Callable[[int], Any], adata: AnnData, counts: Counts, k: int) -> dict[str, object]:
    """Fit one of scikit-learn's models."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        topics = kind(k).fit(adata.X).components_
    seconds = time.perf_counter() - started
    return {"log-lik., held out": "", "s.e.": "", "ELBO, guide": "", **measured(topics, counts)} | {
        "seconds": seconds
    }


def ours(
    make: Callable[[int, int], VAE], adata: AnnData, counts: Counts, k: int, seed: int, epochs: int
) -> dict[str, object]:
    """Fit one of our models."""
    torch.manual_seed(seed)
    model = make(adata.n_vars, k)
    started = time.perf_counter()
    run = fit(model, guide_for(model), adata, epochs=epochs, seed=seed, progress=False)
    seconds = time.perf_counter() - started
    on = run.on(adata)
    each = on.log_likelihoods(100, refine=True)["log_likelihood"]
    row: dict[str, object] = {
        "log-lik., held out": f"{each.mean():.2f}",
        "s.e.": f"{each.sem():.2f}",
        "ELBO, guide": f"{on.evaluate(20).elbo:.2f}",
        "coherence": "",
        "diversity": "",
    }
    if model.pure_topics() is not None:
        row |= measured(on.interpretation.topic_features().to_numpy().T, counts)
    return row | {"seconds": seconds}


def main() -> None:
    """Fit all to each file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE[:TOPICS]")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--most-features", type=int, default=2000)
    options = parser.parse_args()
    keep_freed_memory()
    for named in options.files:
        name, _, number = named.partition(":")
        adata = chosen(read(Path(name)), options.most_features)
        counts, k = counts_of(adata), int(number or 20)
        rows: list[dict[str, object]] = []

        def add(
            what: str,
            row: dict[str, object],
            rows: list[dict[str, object]] = rows,
            name: str = name,
        ) -> None:
            rows.append({"model": what} | row)
            record = {"machine": machine(), "data": Path(name).name, **rows[-1]}
            with (RESULTS / "topics.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)

        for what, kind in PEERS.items():
            add(what, peer(kind, adata, counts, k))
        for seed in range(options.seeds):
            for what, make in VAES.items():
                add(what, ours(make, adata, counts, k, seed, options.epochs))
        print(f"\n{Path(name).name}, {adata.n_obs:,} x {adata.n_vars:,}, {k} topics\n")
        print(markdown(rows), flush=True)


if __name__ == "__main__":
    main()
