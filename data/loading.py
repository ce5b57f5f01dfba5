"""One function for all data: a known name, a file or a folder."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from vae4counts.data.datasets.catalogue import DATASETS
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.readers.orientation import warn_if_transposed
from vae4counts.data.readers.registry import accepted_formats, find_reader


def load(source: str | Path, *, out_of_core: bool = False, offline: bool | None = None) -> AnnData:
    """Load a data set by name, or from a file or folder.

    A data set from the network is downloaded the first time, into a folder below
    ``$VAE4COUNTS_DATA`` (by default the user's cache).

    Args:
        source: A name in `DATASETS`, or a path to a file or folder of a format in `READERS`:
            an ``.h5ad`` file, a ``.zarr`` folder, a 10x folder (or an archive of one:
            ``.tar.gz``, ``.zip``) or ``.h5`` file, a ``.loom`` file, a Matrix Market file
            (``.mtx``), a table (``.csv``, ``.tsv``; rows are observations), COCO instances
            (``.json``) or a table of COCO counts. Text files may be compressed (``.gz``). A name
            takes precedence over a file of the same name.
        out_of_core: Whether to leave the counts of an ``.h5ad`` file or a ``.zarr`` folder on
            disk, to be read in blocks when they are needed; they must be stored as CSR.
        offline: Whether to avoid the network; by default if ``$VAE4COUNTS_OFFLINE`` is set.

    Returns:
        Observations x features, with counts in ``X`` as CSR and unique names. The counts are
        not checked here, but where batches are made, when it is known which layer of a store
        holds them.

    Warns:
        UserWarning: Rows and columns seem to be swapped, judging by their names.

    Raises:
        DataError: There is no such file, its format is unknown, or it is broken; or it cannot be
            downloaded.
        UnknownName: ``source`` looks like a name, and neither a data set nor a file has that
            name.
    """
    is_name = str(source) in DATASETS
    path = Path(source).expanduser()
    if not is_name and not path.exists():
        if path.name == str(source) and not path.suffix:
            raise UnknownName("data set, file or folder", path.name, DATASETS)
        raise DataError(f"There is no file or folder {path}. {_accepted()}")
    reader = None if is_name else find_reader(path, out_of_core=out_of_core)
    if out_of_core and reader is None:
        raise DataError(
            f"{path} cannot stay on disk; these formats can: {accepted_formats(out_of_core=True)}."
        )
    if is_name:
        return DATASETS[str(source)].loader(offline)
    if reader is None:
        raise DataError(f"Cannot tell from its name what {path} holds. {_accepted()}")
    try:
        adata = reader.open(path) if out_of_core else reader.read(path)
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    warn_if_transposed(adata, path)
    return adata


def _accepted() -> str:
    return f"Accepted: a data set ({', '.join(DATASETS)}), or a path to {accepted_formats()}."
