"""One door to all data: a known name, a file or a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from anndata import AnnData

from vae4counts.data.archives import unpack
from vae4counts.data.coco import is_coco_table, read_coco_instances, read_coco_table
from vae4counts.data.datasets import DATASETS
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.h5ad import read_h5ad
from vae4counts.data.tables import read_table
from vae4counts.data.tenx import read_10x, read_mtx


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
    ".h5ad": read_h5ad,
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


def load(source: str | Path, *, offline: bool | None = None) -> AnnData:
    """Loads a data set by name, or from a file or folder.

    A data set that comes from the network is downloaded the first time, into a folder below
    ``$VAE4COUNTS_DATA`` (by default the user's cache).

    Args:
        source: A name in `DATASETS`; or a path to an ``.h5ad`` file, a 10x folder (or an
            archive of one: ``.tar.gz``, ``.zip``), a Matrix Market file (``.mtx``), a table
            (``.csv``, ``.tsv``; rows are observations), COCO
            instances (``.json``) or a table of COCO counts. All but ``.h5ad`` may be
            compressed (``.gz``). A name goes before a file that is called the same.
        offline: Whether to go without the network; by default if ``$VAE4COUNTS_OFFLINE`` is set.

    Returns:
        Observations x features, with counts in ``X`` as CSR and unique names. The counts are
        not checked here: that is done where batches are made, when it is known which layer of
        an ``.h5ad`` file holds them.

    Raises:
        DataError: If there is no such file, its form is not known, it is broken, or cannot be
            downloaded.
        UnknownName: If ``source`` looks like a name, and there is neither a data set nor a
            file of that name.
    """
    if str(source) in DATASETS:
        return DATASETS[str(source)].loader(offline)
    path = Path(source).expanduser()
    if path.is_dir():
        return read_10x(path)
    if not path.exists():
        if path.name == str(source) and not path.suffix:
            raise UnknownName("data set, file or folder", path.name, DATASETS)
        raise DataError(f"There is no file or folder {path}. {_accepted()}")
    for suffix, reader in _READERS.items():
        if path.name.endswith(suffix):
            return reader(path)
    raise DataError(f"Cannot tell from its name what {path} holds. {_accepted()}")


def _accepted() -> str:
    return (
        f"Accepted: a data set ({', '.join(DATASETS)}), a 10x folder, "
        f"or a file that ends in one of {', '.join(_READERS)}."
    )
