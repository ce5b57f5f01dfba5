"""Data of the examples: the real data if they are available, else substitutes.

The real data are read from the file or folder that an environment variable names, or from the
cache that an earlier `load` has filled; nothing is downloaded. The substitutes are the cells that
scanpy ships, and data drawn here from a known truth, to show whether an example finds it.
``VAE4COUNTS_QUICK=1`` makes them small, for tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import DATASETS, DataError, load, load_pbmc68k_reduced

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"

# Scenes: how common each is, and the mean number of each object in one. The names
# are those of COCO's categories; the numbers are made up.
SCENES: dict[str, tuple[float, dict[str, float]]] = {
    "meal": (
        0.16,
        {"dining table": 1, "fork": 0.9, "knife": 0.9, "spoon": 0.6, "bowl": 1.2, "cup": 1.2,
         "bottle": 0.7, "chair": 1.5, "person": 1, "pizza": 0.7, "sandwich": 0.4, "broccoli": 0.5,
         "carrot": 0.5},
    ),
    "party": (
        0.06,
        {"person": 4, "cake": 1.2, "wine glass": 2, "dining table": 1, "fork": 0.6, "knife": 0.7,
         "bottle": 1, "cup": 0.8, "chair": 1.5},
    ),
    "street": (
        0.20,
        {"car": 4, "person": 3, "truck": 0.7, "bus": 0.5, "traffic light": 1.2, "bicycle": 0.5,
         "motorcycle": 0.5, "stop sign": 0.2, "fire hydrant": 0.15, "handbag": 0.6,
         "backpack": 0.5},
    ),
    "office": (
        0.12,
        {"laptop": 0.8, "tv": 0.8, "keyboard": 0.9, "mouse": 0.8, "chair": 1.2, "cup": 0.6,
         "book": 1.5, "cell phone": 0.5, "person": 0.6},
    ),
    "living room": (
        0.13,
        {"couch": 1, "tv": 0.8, "chair": 1.2, "book": 1.5, "remote": 0.7, "potted plant": 0.8,
         "vase": 0.4, "cat": 0.3, "dog": 0.3, "person": 0.8, "clock": 0.3},
    ),
    "bathroom": (
        0.07,
        {"toilet": 1, "sink": 1, "toothbrush": 0.4, "bottle": 0.7, "cup": 0.3, "hair drier": 0.1},
    ),
    "beach": (
        0.10,
        {"person": 4, "surfboard": 1.2, "umbrella": 0.8, "boat": 0.6, "bird": 0.6, "kite": 0.5,
         "backpack": 0.4},
    ),
    "snow": (0.07, {"person": 3, "skis": 2, "snowboard": 0.5, "backpack": 0.6}),
    "meadow": (
        0.09,
        {"sheep": 2, "cow": 1.5, "horse": 0.8, "person": 0.6, "dog": 0.4, "bird": 0.5},
    ),
}  # fmt: skip


def cells() -> tuple[AnnData, str]:
    """Return blood cells with their types in ``obs["celltype"]``, and a description."""
    return _real_or("pbmc68k", "VAE4COUNTS_PBMC68K", load_pbmc68k_reduced, "700 cells from scanpy")


def pictures(*, with_empty: bool = False) -> tuple[AnnData, str]:
    """Return pictures x objects, and a description; made pictures have ``obs["scene"]``.

    Pictures without any object are left out unless they are asked for.
    """
    fewest = 0 if with_empty else 1
    return _real_or("coco2017-val", "VAE4COUNTS_COCO", made_scenes, "made scenes", fewest)


def tumours() -> tuple[AnnData, str]:
    """Return tumours x genes, types in ``obs["primary_disease"]``, and a description."""
    return _real_or("tcga-pancancer-top5000", "VAE4COUNTS_TCGA", made_tumours, "made tumours")


def captioned_pictures() -> tuple[AnnData, str]:
    """Return pictures x objects with the words of their captions in ``obsm["captions"]``."""
    adata, what = made_captions(), "a substitute, made scenes with captions"
    if DATASETS["coco2017-val"].is_here:
        try:
            adata = load("coco2017-val", modalities=["captions"], offline=True)
            what = "the real data, coco2017-val and its captions"
        except DataError:  # the captions are not here
            pass
    sc.pp.filter_cells(adata, min_counts=1)
    return adata, f"{adata.n_obs:,} pictures: {what}"


def cells_with_proteins() -> tuple[AnnData, str]:
    """Return cells x genes with proteins in ``obsm["protein"]``, types in ``obs["celltype"]``."""
    if path := os.environ.get("VAE4COUNTS_CITESEQ"):
        adata, what = load(path), "the data that VAE4COUNTS_CITESEQ names"
    else:
        adata, what = made_cells_with_proteins(), "a substitute, made cells"
    return adata, f"{adata.n_obs:,} x {adata.n_vars:,}: {what}"


def made_scenes(n: int = 600 if QUICK else 4000, seed: int = 0) -> AnnData:
    """Draw pictures: a scene, how busy it is, and Poisson numbers of its objects.

    Every object also appears by accident in any scene (once in 100 pictures).
    """
    rng = np.random.default_rng(seed)
    objects = sorted({name for _, rates in SCENES.values() for name in rates})
    rates = pd.DataFrame({name: rates for name, (_, rates) in SCENES.items()}, index=objects)
    weights = np.array([weight for weight, _ in SCENES.values()])
    scene = rng.choice(len(SCENES), size=n, p=weights / weights.sum())
    busy = rng.gamma(4, 1 / 4, size=(n, 1))
    counts = rng.poisson(rates.fillna(0).to_numpy().T[scene] * busy + 0.01)
    obs = pd.DataFrame({"scene": pd.Categorical(np.array(list(SCENES))[scene])})
    return _annotated(counts, obs, objects, "picture")


def made_captions(n: int = 600 if QUICK else 4000, seed: int = 0) -> AnnData:
    """Draw the pictures of `made_scenes` with the words of about five captions each.

    A picture has 20 words on average. Half of them are about its objects, each as often as there
    are of it (``"fork"`` is the word of a fork; one word in ten is a ``"thing"`` instead); a
    quarter about its scene, two words that no object has; the others are words of any caption.
    """
    adata = made_scenes(n, seed)
    rng = np.random.default_rng(seed + 1)
    scenes, objects = list(SCENES), list(adata.var_names)
    of_scenes = [f"{scene} {what}" for scene in scenes for what in ("photo", "moment")]
    words = [*objects, "thing", *of_scenes, "a", "the", "with", "and", "next", "standing"]
    counts = adata.X.toarray()
    about = np.zeros((n, len(words)))
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    about[:, : len(objects)] = 0.5 * 0.9 * counts / total
    about[:, len(objects)] = 0.05
    scene = adata.obs["scene"].cat.set_categories(scenes).cat.codes.to_numpy()
    for k in range(2):
        about[np.arange(n), len(objects) + 1 + 2 * scene + k] = 0.125
    about[:, -6:] = 0.25 / 6
    adata.obsm["captions"] = sp.csr_matrix(rng.poisson(20 * about).astype(np.int32))
    adata.uns["captions_features"] = np.array(words)
    return adata


# Blood cells: how common each type is, the genes that mark it and the proteins on its surface.
BLOOD: dict[str, tuple[float, list[str], list[str]]] = {
    "CD4 T": (0.32, ["IL7R", "CD3D", "CD3E", "LTB"], ["CD3", "CD4"]),
    "CD8 T": (0.18, ["CD8A", "CD3D", "CD3E", "CCL5"], ["CD3", "CD8"]),
    "NK": (0.10, ["GNLY", "NKG7", "CCL5", "KLRD1"], ["CD16", "CD56"]),
    "B": (0.14, ["MS4A1", "CD79A", "CD79B", "CD74"], ["CD19", "CD20"]),
    "monocyte": (0.26, ["LYZ", "S100A8", "S100A9", "CD14"], ["CD14", "CD11b"]),
}


def made_cells_with_proteins(n: int = 400 if QUICK else 3000, seed: int = 0) -> AnnData:
    """Draw blood cells with the counts of 300 genes and of 10 surface proteins.

    A gene that marks a type is increased 8 times in it. Of T cells, "naive" or "memory" is a
    continuous state between 0 and 1 that moves 20 genes (``state_1`` ...) and the proteins CD45RA
    and CD45RO. The RNA is shallow: 800 counts in a cell. A protein has a background of 5 to 20
    counts in every cell, and 20 times as many on the types that carry it. Negative binomial counts,
    of dispersion 0.3.
    """
    rng = np.random.default_rng(seed)
    types = list(BLOOD)
    markers = sorted({gene for _, genes, _ in BLOOD.values() for gene in genes})
    n_genes, state_genes = 300, [f"state_{i + 1}" for i in range(20)]
    genes = [*markers, *state_genes]
    genes += [f"gene_{i + 1}" for i in range(n_genes - len(genes))]
    proteins = sorted({name for _, _, names in BLOOD.values() for name in names})
    proteins += ["CD45RA", "CD45RO"]
    shares = np.array([share for share, _, _ in BLOOD.values()])
    kind = rng.choice(len(types), size=n, p=shares)
    state = rng.beta(0.6, 0.6, size=n)
    log_rates = np.tile(rng.normal(0, 1, size=n_genes), (n, 1))
    background = rng.uniform(5, 20, size=len(proteins))
    mean = np.tile(background, (n, 1))
    for k, (_, marked, carried) in enumerate(BLOOD.values()):
        rows = kind == k
        for gene in marked:
            log_rates[rows, genes.index(gene)] += np.log(8)
        for name in carried:
            mean[rows, proteins.index(name)] *= 20
    is_t = kind < 2
    signs = np.where(np.arange(len(state_genes)) % 2, 1, -1)
    moved = slice(len(markers), len(markers) + len(state_genes))
    log_rates[:, moved] += np.where(is_t, state - 0.5, 0)[:, None] * signs * np.log(16)
    mean[is_t, -2] *= 1 + 19 * (1 - state[is_t])
    mean[is_t, -1] *= 1 + 19 * state[is_t]
    rates = np.exp(log_rates)
    depth = rng.lognormal(np.log(800), 0.3, size=(n, 1))
    expected = depth * rates / rates.sum(1, keepdims=True)
    counts = rng.poisson(expected * rng.gamma(1 / 0.3, 0.3, size=expected.shape))
    obs = pd.DataFrame(
        {"celltype": pd.Categorical(np.array(types)[kind]), "state": np.where(is_t, state, np.nan)}
    )
    adata = _annotated(counts, obs, genes, "cell")
    seen = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, size=mean.shape))
    adata.obsm["protein"] = pd.DataFrame(seen, adata.obs_names, proteins)
    return adata


def made_tumours(
    n: int = 300 if QUICK else 1200, n_genes: int = 300 if QUICK else 1000, seed: int = 0
) -> AnnData:
    """Draw tumours of 12 types as RSEM's expected counts of bulk RNA-seq, rounded.

    Of the genes, 12 mark each type (increased 8 to 64 times), and 40 more rise and fall with how
    fast a tumour's cells divide, regardless of its type: ``obs["proliferation"]``. Depths are
    about five million reads, the dispersion is 0.15.
    """
    rng = np.random.default_rng(seed)
    types, n_markers, n_cycle = list("ABCDEFGHIJKL"), 12, 40
    genes = [f"{t}_marker_{i + 1}" for t in types for i in range(n_markers)]
    genes += [f"cycle_{i + 1}" for i in range(n_cycle)]
    genes += [f"gene_{i + 1}" for i in range(n_genes - len(genes))]
    kind = rng.choice(len(types), size=n, p=rng.dirichlet(np.full(len(types), 8.0)))
    proliferation = rng.normal(size=n)
    log_rates = np.tile(rng.normal(0, 2, size=n_genes), (n, 1))
    for t in range(len(types)):
        marks = slice(t * n_markers, (t + 1) * n_markers)
        log_rates[kind == t, marks] += np.log(2) * rng.uniform(3, 6, size=n_markers)
    cycle = slice(len(types) * n_markers, len(types) * n_markers + n_cycle)
    log_rates[:, cycle] += 0.6 * proliferation[:, None]
    rates = np.exp(log_rates)
    depth = rng.lognormal(np.log(5e6), 0.4, size=(n, 1))
    mean = depth * rates / rates.sum(1, keepdims=True)
    counts = rng.poisson(mean * rng.gamma(1 / 0.15, 0.15, size=mean.shape))
    obs = pd.DataFrame(
        {
            "primary_disease": pd.Categorical([f"tumour type {types[t]}" for t in kind]),
            "proliferation": proliferation,
        }
    )
    return _annotated(counts, obs, genes, "sample")


def made_protocols(n: int = 300 if QUICK else 1500, seed: int = 0) -> AnnData:
    """Draw cells of five lines, each measured by three protocols; the third lacks two of them.

    Twenty genes mark each line (increased 4 to 16 times). A protocol has its own depth and its own
    efficiency for each gene (a standard deviation of 0.8 in log-rates), and "drops" sees nothing of
    the gene ``"unseen"``. Negative binomial counts of dispersion 0.3.
    """
    rng = np.random.default_rng(seed)
    lines, n_markers, n_genes = ["A549", "H1975", "H2228", "H838", "HCC827"], 20, 400
    genes = [f"{line}_marker_{i + 1}" for line in lines for i in range(n_markers)]
    genes += ["unseen"]
    genes += [f"gene_{i + 1}" for i in range(n_genes - len(genes))]
    protocols = {"plates": 8000, "drops": 2500, "old plates": 4000}
    protocol = rng.choice(len(protocols), size=n, p=[0.5, 0.3, 0.2])
    line = np.where(protocol == 2, rng.integers(3, size=n), rng.integers(5, size=n))
    log_rates = np.tile(rng.normal(0, 1, size=n_genes), (n, 1))
    for k in range(len(lines)):
        marks = slice(k * n_markers, (k + 1) * n_markers)
        log_rates[line == k, marks] += np.log(2) * rng.uniform(2, 4, size=n_markers)
    log_rates[:, genes.index("unseen")] = 2.0
    log_rates += rng.normal(0, 0.8, size=(len(protocols), n_genes))[protocol]
    rates = np.exp(log_rates)
    rates[protocol == 1, genes.index("unseen")] = 0
    depth = np.array(list(protocols.values()))[protocol] * rng.lognormal(0, 0.3, size=n)
    mean = depth[:, None] * rates / rates.sum(1, keepdims=True)
    counts = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, size=mean.shape))
    obs = pd.DataFrame(
        {
            "protocol": pd.Categorical(np.array(list(protocols))[protocol]),
            "cell_line": pd.Categorical(np.array(lines)[line]),
        }
    )
    return _annotated(counts, obs, genes, "cell")


def _real_or(
    name: str, variable: str, substitute: Callable[[], AnnData], what: str, fewest: int = 1
) -> tuple[AnnData, str]:
    path = os.environ.get(variable)
    if path:
        adata, what = load(path), f"the data that {variable} names"
    elif DATASETS[name].is_here:
        adata, what = load(name, offline=True), f"the real data, {name}"
    else:
        adata, what = substitute(), f"a substitute, {what} (the real data, {name}, are not here)"
    # features without any counts carry no information, and mostly observations neither
    sc.pp.filter_cells(adata, min_counts=fewest)
    sc.pp.filter_genes(adata, min_counts=1)
    return adata, f"{adata.n_obs:,} x {adata.n_vars:,}: {what}"


def _annotated(counts: np.ndarray, obs: pd.DataFrame, features: list[str], what: str) -> AnnData:
    names = [f"{what}{i + 1}" for i in range(len(counts))]
    var = pd.DataFrame(index=features)
    return AnnData(sp.csr_matrix(counts.astype(np.int32)), obs.set_axis(names), var)
