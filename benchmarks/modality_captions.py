"""COCO's validation images: the words of captions given the objects, and objects given words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from anndata import AnnData
from modality_dropping import DroppedTables
from modality_scores import Scores, conditional, fitted, rows_of, split_in
from scipy.special import gammaln, xlogy
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from vae4counts.data import load_coco2017_captions, load_coco2017_object_counts
from vae4counts.data.datasets.joining import add_modality
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.models import Modality, MultiVAE
from vae4counts.models.likelihoods import Multinomial

TABLES = {"objects": "X", "words": "obsm/words"}
PAIRS = (("words", "objects"), ("objects", "words"))
FEWEST_IMAGES = 5
HELD_OUT = 0.1
NEIGHBOURS = 20
# added to the counts of all training images
SMOOTHING = 0.5
EPOCHS, PATIENCE, BATCH, RATE = 60, 3, 128, 5e-3
Parts = dict[str, np.ndarray]
Contender = Callable[[AnnData, int], Scores]
SHARES = np.linspace(0, 1, 21)
# of the squared weights, in nats an image: Gaussian priors of variance 1 to 0.01
DECAYS = (1e-4, 1e-3, 1e-2)


def read(folder: Path, seed: int) -> AnnData:
    """Load objects and words of the same images; a tenth of them is held out."""
    adata = load_coco2017_object_counts("val", folder / "coco2017-val-counts.csv")
    words = load_coco2017_captions("val", folder / "coco_captions_val2017.json.gz")
    frequent = np.asarray((words.X > 0).sum(0)).ravel() >= FEWEST_IMAGES
    add_modality(adata, "words", words[:, frequent].copy())
    split_in(adata, seed, test=HELD_OUT)
    return adata


def log_multinomial(counts: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """Return log-probabilities of counts given their totals, in nats, shape ``(N,)``."""
    coefficient = gammaln(counts.sum(1) + 1) - gammaln(counts + 1).sum(1)
    return coefficient + (counts * log_probabilities).sum(1)


def both_ways(predict: Callable[[Parts, Parts], np.ndarray]) -> Contender:
    """Make a contender of what predicts log-probabilities of test counts."""

    def contender(adata: AnnData, seed: int) -> Scores:
        began, scores = time.perf_counter(), {}
        tables = {"objects": adata.X.toarray(), "words": adata.obsm["words"].toarray()}
        for of, given in PAIRS:
            torch.manual_seed(seed)
            parts = ("train", "validation", "test")
            x, y = (
                {part: tables[name][rows_of(adata, part)].astype(float) for part in parts}
                for name in (given, of)
            )
            scores[f"{of} given {given}"] = log_multinomial(y["test"], predict(x, y)).mean()
        return scores | {"seconds": time.perf_counter() - began}

    return contender


def unigram(_: Parts, y: Parts) -> np.ndarray:
    """Return the logarithms of the shares of all counts."""
    total = y["train"].sum(0) + SMOOTHING
    return np.log(total / total.sum())


def neighbours(x: Parts, y: Parts) -> np.ndarray:
    """Mix the mean of the nearest training images by cosine with the unigram, as suits best."""
    floor = np.exp(unigram(x, y))

    def means(part: str) -> np.ndarray:
        a, b = (np.log1p(x[name]) for name in (part, "train"))
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True).clip(1e-9) for v in (a, b))
        nearest = np.argsort(-(a @ b.T), axis=1, kind="stable")[:, :NEIGHBOURS]
        counts = y["train"][nearest].sum(1)
        return counts / counts.sum(1, keepdims=True).clip(1)

    validation = means("validation")
    scores = [
        xlogy(y["validation"], share * floor + (1 - share) * validation).sum() for share in SHARES
    ]
    best = SHARES[int(np.argmax(scores))]
    return np.log(best * floor + (1 - best) * means("test") + 1e-300)


def regression(x: Parts, y: Parts) -> np.ndarray:
    """Train multinomial regressions, and take the one that is best on validation."""
    found = []
    for transform, decay in product((np.sign, np.log1p), DECAYS):
        inputs = {
            name: torch.tensor(transform(value), dtype=torch.float32) for name, value in x.items()
        }
        found.append(_regression(inputs, y, unigram(x, y), decay))
    _, best = min(found, key=lambda pair: pair[0])
    return best


def _regression(
    x: dict[str, Tensor], y: Parts, start: np.ndarray, decay: float
) -> tuple[float, np.ndarray]:
    """Train one, and return its validation loss and its predictions at its best epoch."""
    counts = {name: torch.tensor(value, dtype=torch.float32) for name, value in y.items()}
    layer = nn.Linear(x["train"].shape[1], counts["train"].shape[1])
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(start))
    optimiser = torch.optim.Adam(layer.parameters(), lr=RATE)

    def loss(rows: Tensor | slice, part: str) -> Tensor:
        return -(counts[part][rows] * log_softmax(layer(x[part][rows]), -1)).sum(-1).mean()

    best, found, waited = np.inf, np.empty(0), 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x["train"])).split(BATCH):
            optimiser.zero_grad()
            (loss(rows, "train") + decay * layer.weight.square().sum()).backward()
            optimiser.step()
        with torch.no_grad():
            reached = float(loss(slice(None), "validation"))
            if reached < best:
                best, waited = reached, 0
                found = log_softmax(layer(x["test"]), -1).double().numpy()
            else:
                waited += 1
        if waited == PATIENCE:
            break
    return best, found


def ours(adata: AnnData, seed: int, *, handlers: Sequence[Handler] = ()) -> Scores:
    """Fit our model of both tables."""
    sizes = adata.n_vars, adata.obsm["words"].shape[1]
    model = MultiVAE(
        {name: Modality(size, Multinomial()) for name, size in zip(TABLES, sizes, strict=True)}
    )
    run, scores = fitted(model, adata, TABLES, seed, handlers)
    for of, given in PAIRS:
        scores |= conditional(run, adata, of, given)
        refined = conditional(run, adata, of, given, refine=True)
        scores |= {f"{name}, refined": value for name, value in refined.items()}
    return scores


CONTENDERS: dict[str, Contender] = {
    "unigram": both_ways(unigram),
    "20 nearest neighbours": both_ways(neighbours),
    "multinomial regression": both_ways(regression),
    "MultiVAE": ours,
    "MultiVAE, tables dropped": partial(ours, handlers=(DroppedTables(),)),
}
