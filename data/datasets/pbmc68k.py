"""10x Genomics' 68k blood cells of one donor (Zheng et al. 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.datasets.joining import warn_of_unmatched
from vae4counts.data.errors import DataError
from vae4counts.data.readers.archives import unpack
from vae4counts.data.readers.records import read_records
from vae4counts.data.readers.tenx import read_10x

FOLDER = "pbmc68k"
MATRIX = RemoteFile(
    name="fresh_68k_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
    url="https://cf.10xgenomics.com/samples/cell-exp/1.1.0/fresh_68k_pbmc_donor_a/"
    "fresh_68k_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
    size=124_442_812,
)
CELL_TYPES = RemoteFile(
    name="68k_pbmc_barcodes_annotation.tsv",
    url="https://raw.githubusercontent.com/10XGenomics/single-cell-3prime-paper/master/"
    "pbmc68k_analysis/68k_pbmc_barcodes_annotation.tsv",
)

_INSIDE = Path("filtered_matrices_mex", "hg19")
_UNPACKED = "unpacked"


def load_pbmc68k(directory: str | Path | None = None, *, offline: bool | None = None) -> AnnData:
    """Load the filtered counts of 68,579 fresh blood cells x 32,738 genes, with cell types.

    Args:
        directory: Where ``68k_pbmc_barcodes_annotation.tsv`` and the counts are, or are
            downloaded to: the folder ``filtered_matrices_mex/hg19`` (or its files), or 10x's
            ``.tar.gz`` that holds it. By default a folder of the cache.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Cells x genes, in the order of the matrix. ``obs["celltype"]`` has the paper's 11 types
        (by similarity to sorted cells, from these same counts), ``obsm["X_tsne"]`` its map.

    Raises:
        DataError: A file is missing or broken, or a barcode is repeated.

    Warns:
        UserWarning: Cells have no type (they are kept without one), or types have no cell.
    """
    folder = data_directory(FOLDER, directory)
    adata = read_10x(_matrix_folder(folder, offline))
    types = read_records(
        fetch(CELL_TYPES, folder, offline=offline), "barcodes", ["celltype", "TSNE.1", "TSNE.2"]
    )
    _join(adata, types)
    return adata


def _matrix_folder(folder: Path, offline: bool | None) -> Path:
    for found in (folder, folder / _INSIDE):
        if any(found.glob("matrix.mtx*")):
            return found
    unpacked = folder / _UNPACKED
    if not unpacked.exists():
        unpack(fetch(MATRIX, folder, offline=offline), unpacked)
    return unpacked / _INSIDE


def _join(adata: AnnData, types: pd.DataFrame) -> None:
    cells, named = _with_group(adata.obs_names), _with_group(types.index)
    for what, names in (("counts", cells), ("cell types", named)):
        if (repeated := names.duplicated()).any():
            raise DataError(f"The {what} have the barcode {names[repeated][0]} twice.")
    types = types.set_axis(named)
    warn_of_unmatched(cells[~cells.isin(named)], len(cells), "no cell type")
    warn_of_unmatched(named[~named.isin(cells)], len(named), "a cell type, but no counts")
    found = types.reindex(cells)
    adata.obs["celltype"] = pd.Categorical(found["celltype"])
    try:
        adata.obsm["X_tsne"] = found[["TSNE.1", "TSNE.2"]].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{CELL_TYPES.name}: the map is not made of numbers: {error}.") from error


def _with_group(barcodes: pd.Index) -> pd.Index:
    """Add the number of the group to barcodes, which lack it if there is only one group."""
    return pd.Index([name if "-" in name else f"{name}-1" for name in barcodes])
