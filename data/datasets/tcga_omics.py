"""TCGA pan-cancer with several modalities: microRNA and DNA methylation beside gene counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.datasets.joining import add_modality
from vae4counts.data.datasets.tcga import (
    ATLAS_URL,
    FOLDER,
    is_up_to_date,
    load_tcga_pancancer_rna_seq,
)
from vae4counts.data.errors import DataError
from vae4counts.data.readers.as_anndata import unique_names
from vae4counts.data.readers.xena import BLOCK_SIZE, Block, read_blocks, read_samples

_MIRNA = "pancanMiRs_EBadjOnProtocolPlatformWithoutRepsWithUnCorrectMiRs_08_04_16.xena.gz"
_METHYLATION = (
    "jhu-usc.edu_PANCAN_HumanMethylation450.betaValue_whitelisted.tsv"
    ".synapse_download_5096262.xena.gz"
)
MIRNA = RemoteFile(name=_MIRNA, url=f"{ATLAS_URL}/{_MIRNA}")
METHYLATION = RemoteFile(name=_METHYLATION, url=f"{ATLAS_URL}/{_METHYLATION}")


def load_tcga_pancancer_multi_omics(
    directory: str | Path | None = None,
    top_features: int | None = None,
    *,
    top_probes: int = 5000,
    offline: bool | None = None,
) -> AnnData:
    """Load TCGA's gene counts with the samples' microRNA and DNA methylation beside them.

    Args:
        directory: Where the files are, or are downloaded to; by default a folder of the cache.
        top_features: Genes to keep; all by default.
        top_probes: Methylation probes to keep.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        The result of `load_tcga_pancancer_rna_seq` with ``obsm["mirna"]`` and
        ``obsm["methylation"]``, joined by sample (see `add_modality`): NaN rows for samples
        without, features in ``uns["mirna_features"]`` and ``uns["methylation_features"]``.
        Neither holds counts.

    Raises:
        DataError: See the three loaders of one modality.

    Warns:
        UserWarning: See these loaders; and some samples are in only one of the tables.
    """
    adata = load_tcga_pancancer_rna_seq(directory, top_features, offline=offline)
    add_modality(adata, "mirna", load_tcga_pancancer_mirna(directory, offline=offline))
    probes = load_tcga_pancancer_methylation(directory, top_probes, offline=offline)
    add_modality(adata, "methylation", probes)
    return adata


def load_tcga_pancancer_mirna(
    directory: str | Path | None = None, *, offline: bool | None = None
) -> AnnData:
    """Load the abundance of mature microRNAs in TCGA's samples.

    Xena has them as ``log2(normalised reads + 1)``, corrected for platforms. The corrected values
    are not counts and can be negative: they are kept unchanged.

    Args:
        directory: Where Xena's file is, or is downloaded to; by default a folder of the cache.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Samples x microRNAs, dense float32, NaN where Xena has no value. Also kept as
        ``.h5ad`` in the directory.

    Raises:
        DataError: The file is missing or broken; names the line.
    """
    return _load(MIRNA, "tcga-pancancer-mirna.h5ad", directory, offline, None, (-np.inf, np.inf))


def load_tcga_pancancer_methylation(
    directory: str | Path | None = None,
    top_features: int = 5000,
    *,
    offline: bool | None = None,
) -> AnnData:
    """Load how methylated the DNA of TCGA's samples is, at the probes that vary most.

    A beta value is the methylated fraction of a site, from 0 to 1. It is not a count and is kept
    unchanged. Of Xena's 396,065 probes only those with the highest variance are ever in memory.

    Args:
        directory: Where Xena's file is, or is downloaded to; by default a folder of the cache.
        top_features: Probes to keep.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Samples x probes, dense float32, NaN where Xena has no value. Also kept as ``.h5ad``
        in the directory.

    Raises:
        DataError: The file is missing or broken, or a value is not from 0 to 1; names the line.
        ValueError: ``top_features`` is below 1.
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
    if not is_up_to_date(cache, [folder / file.name]):
        table = fetch(file, folder, offline=offline)
        adata = _read(table, top, bounds)
        with tempfile.TemporaryDirectory(prefix=".tcga-", dir=folder) as staging:
            adata.write_h5ad(Path(staging) / cache.name)
            (Path(staging) / cache.name).replace(cache)
    return anndata.read_h5ad(cache)


def _read(path: Path, top: int | None, bounds: tuple[float, float]) -> AnnData:
    """Read a table, with no more than about twice ``top`` features in memory at a time."""
    samples = read_samples(path)
    names: list[str] = []
    parts: list[np.ndarray] = []
    scores = np.empty(0)
    for block in read_blocks(path):
        _check(block, path, samples, bounds)
        names += block.features
        parts.append(block.numbers.astype(np.float32))
        scores = np.append(scores, _variance(block.numbers))
        if top is not None and len(names) > 2 * top + BLOCK_SIZE:
            names, parts, scores = _highest(names, parts, scores, top)
    if not names:
        raise DataError(f"{path} has a header, but no features.")
    names, parts, _ = _highest(names, parts, scores, top)
    var = pd.DataFrame(index=unique_names(names))
    return AnnData(np.vstack(parts).T.copy(), pd.DataFrame(index=samples), var)


def _highest(
    names: list[str], parts: list[np.ndarray], scores: np.ndarray, top: int | None
) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """Keep the features with the highest scores, in their original order."""
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
    """Return the variance of each row over the values that are not missing; 0 if all are."""
    present = ~np.isnan(values)
    n = np.maximum(present.sum(1, keepdims=True), 1)
    mean = np.where(present, values, 0).sum(1, keepdims=True) / n
    return (np.where(present, values - mean, 0) ** 2).sum(1) / n[:, 0]
