"""One door to all data: a known name, a file or a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from anndata import AnnData

from vae4counts.data.datasets.catalogue import DATASETS
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.readers.anndata_store import open_store, read_loom, read_store
from vae4counts.data.readers.archives import unpack
from vae4counts.data.readers.coco import is_coco_table, read_coco_instances, read_coco_table
from vae4counts.data.readers.orientation import warn_if_sideways
from vae4counts.data.readers.tables import read_table
from vae4counts.data.readers.tenx import read_10x, read_10x_h5, read_mtx


def _read_csv(path: Path) -> AnnData:
    return read_coco_table(path) if is_coco_table(path) else read_table(path)


def _read_archive(path: Path) -> AnnData:
    with TemporaryDirectory() as place:
        unpacked = unpack(path, Path(place) / "unpacked")
        folders = {matrix.parent for matrix in unpacked.rglob("matrix.mtx*")}
        if len(folders) != 1:
            raise DataError(
                f"{path} holds {len(folders)} folders with a matrix.mtx, not one: unpack it and "
                "name the folder or file that is meant."
            )
        return read_10x(folders.pop())


_READERS: dict[str, Callable[[Path], AnnData]] = {
    ".h5ad": read_store,
    ".zarr": read_store,
    ".h5": read_10x_h5,
    ".loom": read_loom,
    ".mtx": read_mtx,
    ".mtx.gz": read_mtx,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".tsv": read_table,
    ".tsv.gz": read_table,
    ".json": read_coco_instances,
    ".json.gz": read_coco_instances,
    ".tar.gz": _read_archive,
    ".tgz": _read_archive,
    ".zip": _read_archive,
}


def load(source: str | Path, *, out_of_core: bool = False, offline: bool | None = None) -> AnnData:
    """Loads a data set by name, or from a file or folder.

    A data set that comes from the network is downloaded the first time, into a folder below
    ``$VAE4COUNTS_DATA`` (by default the user's cache).

    Args:
        source: A name in `DATASETS`; or a path to an ``.h5ad`` file, a ``.zarr`` folder, a 10x
            folder (or an archive of one: ``.tar.gz``, ``.zip``) or ``.h5`` file, a ``.loom``
            file, a Matrix Market file (``.mtx``), a table (``.csv``, ``.tsv``; rows are
            observations), COCO instances (``.json``) or a table of COCO counts. Text files may
            be compressed (``.gz``). A name goes before a file that is called the same.
        out_of_core: Whether to leave the counts of an ``.h5ad`` file or a ``.zarr`` folder on
            disk, to be read in blocks when they are needed; they must be stored as CSR.
        offline: Whether to go without the network; by default if ``$VAE4COUNTS_OFFLINE`` is set.

    Returns:
        Observations x features, with counts in ``X`` as CSR and unique names. The counts are
        not checked here: that is done where batches are made, when it is known which layer of
        a store holds them.

    Warns:
        UserWarning: If rows and columns look as if they had changed places.

    Raises:
        DataError: If there is no such file, its form is not known, it is broken, or cannot be
            downloaded.
        UnknownName: If ``source`` looks like a name, and there is neither a data set nor a
            file of that name.
    """
    is_name = str(source) in DATASETS
    path = Path(source).expanduser()
    reader = next((_READERS[end] for end in _READERS if path.name.endswith(end)), None)
    if not is_name and not path.exists():
        if path.name == str(source) and not path.suffix:
            raise UnknownName("data set, file or folder", path.name, DATASETS)
        raise DataError(f"There is no file or folder {path}. {_accepted()}")
    if out_of_core:
        if is_name or reader is not read_store:
            raise DataError(f"{path} is no .h5ad file or .zarr folder: no other can stay on disk.")
        reader = open_store
    if is_name:
        return DATASETS[str(source)].loader(offline)
    if reader is None and path.is_dir():
        reader = read_10x
    if reader is None:
        raise DataError(f"Cannot tell from its name what {path} holds. {_accepted()}")
    try:
        adata = reader(path)
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    warn_if_sideways(adata, path)
    return adata


def _accepted() -> str:
    return (
        f"Accepted: a data set ({', '.join(DATASETS)}), a 10x folder, "
        f"or a path that ends in one of {', '.join(_READERS)}."
    )
