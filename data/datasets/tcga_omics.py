"""TCGA pan-cancer with several modalities: microRNA and DNA methylation beside the counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.datasets.tcga import ATLAS_HUB, FOLDER, is_fresh, load_tcga_pancancer_rna_seq
from vae4counts.data.errors import DataError
from vae4counts.data.modalities import add_modality
from vae4counts.data.readers.annotated import unique_names
from vae4counts.data.readers.xena import BLOCK, Block, read_blocks, read_samples

_MIRNA = "pancanMiRs_EBadjOnProtocolPlatformWithoutRepsWithUnCorrectMiRs_08_04_16.xena.gz"
_METHYLATION = (
    "jhu-usc.edu_PANCAN_HumanMethylation450.betaValue_whitelisted.tsv"
    ".synapse_download_5096262.xena.gz"
)
MIRNA = RemoteFile(name=_MIRNA, url=f"{ATLAS_HUB}/{_MIRNA}")
METHYLATION = RemoteFile(name=_METHYLATION, url=f"{ATLAS_HUB}/{_METHYLATION}")


def load_tcga_pancancer_multi_omics(
    directory: str | Path | None = None,
    top_features: int | None = None,
    *,
    top_probes: int = 5000,
    offline: bool | None = None,
) -> AnnData:
    """Loads TCGA's gene counts with the samples' microRNA and DNA methylation beside them.

    Args:
        directory: Where the hub's files are, or go; as for the three loaders of one modality.
        top_features: Genes to keep; all by default.
        top_probes: Methylation probes to keep.
        offline: Whether to go without the network; see `fetch`.

    Returns:
        What `load_tcga_pancancer_rna_seq` gives, with ``obsm["mirna"]`` and
        ``obsm["methylation"]``, joined by sample as `add_modality` says: NaN rows for samples
        without, features in ``uns["mirna_features"]`` and ``uns["methylation_features"]``.
        Neither holds counts.

    Raises:
        DataError: As the three loaders do.

    Warns:
        UserWarning: As they do, and of samples that are in one of the tables only.
    """
    adata = load_tcga_pancancer_rna_seq(directory, top_features, offline=offline)
    add_modality(adata, "mirna", load_tcga_pancancer_mirna(directory, offline=offline))
    probes = load_tcga_pancancer_methylation(directory, top_probes, offline=offline)
    add_modality(adata, "methylation", probes)
    return adata


def load_tcga_pancancer_mirna(
    directory: str | Path | None = None, *, offline: bool | None = None
) -> AnnData:
    """Loads the abundance of mature microRNAs in TCGA's samples.

    The hub has them as ``log2(normalised reads + 1)``, corrected for platforms. The correction
    leaves values that are no counts and that can be negative: they are kept as they are.

    Args:
        directory: Where the hub's file is, or goes; by default a folder of the cache.
        offline: Whether to go without the network; see `fetch`.

    Returns:
        Samples x microRNAs, dense float32, NaN where the hub has nothing. Also kept as
        ``.h5ad`` in the directory.

    Raises:
        DataError: If the file cannot be had or is broken; names the line.
    """
    return _load(MIRNA, "tcga-pancancer-mirna.h5ad", directory, offline, None, (-np.inf, np.inf))


def load_tcga_pancancer_methylation(
    directory: str | Path | None = None,
    top_features: int = 5000,
    *,
    offline: bool | None = None,
) -> AnnData:
    """Loads how methylated the DNA of TCGA's samples is, at the probes that vary most.

    A beta value is the methylated share of a site, from 0 to 1. It is no count and is kept as
    it is. Of the hub's 396,065 probes only those of the highest variance are ever in memory.

    Args:
        directory: Where the hub's file is, or goes; by default a folder of the cache.
        top_features: Probes to keep.
        offline: Whether to go without the network; see `fetch`.

    Returns:
        Samples x probes, dense float32, NaN where the hub has nothing. Also kept as ``.h5ad``
        in the directory.

    Raises:
        DataError: If the file cannot be had or is broken, or a value is out of 0 to 1; names
            the line.
        ValueError: If ``top_features`` is below 1.
    """
    if top_features < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {top_features}")
    cache = f"tcga-pancancer-methylation-{top_features}.h5ad"
    return _load(METHYLATION, cache, directory, offline, top_features, (0.0, 1.0))


def _load(
    file: RemoteFile,
    cache_name: str,
    directory: str | Path | None,
    offline: bool | None,
    top: int | None,
    bounds: tuple[float, float],
) -> AnnData:
    folder = data_directory(FOLDER, directory)
    cache = folder / cache_name
    if not is_fresh(cache, [folder / file.name]):
        table = fetch(file, folder, offline=offline)
        adata = _read(table, top, bounds)
        with tempfile.TemporaryDirectory(prefix=".tcga-", dir=folder) as staging:
            adata.write_h5ad(Path(staging) / cache.name)
            (Path(staging) / cache.name).replace(cache)
    return anndata.read_h5ad(cache)


def _read(path: Path, top: int | None, bounds: tuple[float, float]) -> AnnData:
    """Reads a table, of which no more than about twice ``top`` features are held at a time."""
    samples = read_samples(path)
    names: list[str] = []
    parts: list[np.ndarray] = []
    scores = np.empty(0)
    for block in read_blocks(path):
        _check(block, path, samples, bounds)
        names += block.features
        parts.append(block.numbers.astype(np.float32))
        scores = np.append(scores, _variance(block.numbers))
        if top is not None and len(names) > 2 * top + BLOCK:
            names, parts, scores = _highest(names, parts, scores, top)
    if not names:
        raise DataError(f"{path} has a header, but no features.")
    names, parts, _ = _highest(names, parts, scores, top)
    var = pd.DataFrame(index=unique_names(names))
    return AnnData(np.vstack(parts).T.copy(), pd.DataFrame(index=samples), var)


def _highest(
    names: list[str], parts: list[np.ndarray], scores: np.ndarray, top: int | None
) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """Keeps the features of the highest scores, in their old order."""
    kept = np.sort(np.argsort(-scores, kind="stable")[:top])
    return [names[row] for row in kept], [np.vstack(parts)[kept]], scores[kept]


def _check(block: Block, path: Path, samples: list[str], bounds: tuple[float, float]) -> None:
    low, high = bounds
    values = block.numbers
    faulty = np.isinf(values) | (values < low) | (values > high)
    if faulty.any():
        row, column = np.argwhere(faulty)[0]
        raise DataError(
            f"{path}, line {block.lines[row]}: {values[row, column]} of sample {samples[column]} "
            f"is not finite and from {low:g} to {high:g}."
        )


def _variance(values: np.ndarray) -> np.ndarray:
    """Variance of each row over what is there; 0 where nothing is."""
    there = ~np.isnan(values)
    n = np.maximum(there.sum(1, keepdims=True), 1)
    mean = np.where(there, values, 0).sum(1, keepdims=True) / n
    return (np.where(there, values - mean, 0) ** 2).sum(1) / n[:, 0]
