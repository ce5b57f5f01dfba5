"""One function for all data: a known name, a file or a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from anndata import AnnData

from vae4counts.data.datasets.catalogue import DATASETS
from vae4counts.data.datasets.joining import add_modality
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.modalities.multi_data import MultiData
from vae4counts.data.readers.as_anndata import transposed
from vae4counts.data.readers.containers import unwrapped
from vae4counts.data.readers.counters import without_counters
from vae4counts.data.readers.feature_types import choose_feature_type
from vae4counts.data.readers.orientation import is_sideways, warn_if_sideways
from vae4counts.data.readers.other_formats import step_to_readable
from vae4counts.data.readers.registry import accepted_formats, find_reader
from vae4counts.data.readers.totals import without_totals

log = logging.getLogger(__name__)


def load(
    source: str | Path,
    *,
    transpose: bool | None = None,
    feature_type: str | None = None,
    modalities: Sequence[str] | None = None,
    out_of_core: bool = False,
    offline: bool | None = None,
) -> AnnData | MultiData:
    """Load a data set by name, or from a file or folder.

    A data set from the network is downloaded the first time, into a folder below
    ``$VAE4COUNTS_DATA`` (by default the user's cache).

    Args:
        source: A name in `DATASETS`, or a path to a file or folder of a format in `READERS`:
            an ``.h5ad`` or ``.h5mu`` file, a ``.zarr`` folder, a 10x folder or ``.h5`` file, a
            ``.loom`` file, a Matrix Market file (``.mtx``), a table (``.csv``, ``.tsv``, ``.txt``,
            ``.gct``), COCO instances (``.json``) or a table of COCO counts. It may be compressed
            (``.gz``,
            ``.bz2``, ``.xz``), in an archive (``.zip``, ``.tar``), or the only data in a folder
            (such as Cell Ranger's ``outs``, or a SpatialData of one table). A name takes
            precedence over a file of the same name.
        transpose: Whether the rows of the file are features, and its columns observations. By
            default, names decide for a table or a matrix without names beside it; the rows of
            other formats are what the format says.
        feature_type: The type of features to keep (of ``var["feature_types"]``), such as ``"Gene
            Expression"``; all by default.
        modalities: Of a MuData, the modalities to keep; all by default. Of a data set in
            `DATASETS`, the further ones to load beside its counts: ``["captions"]`` of COCO,
            ``["mirna", "methylation"]`` of TCGA; none by default. See `add_modality`.
        out_of_core: Whether to leave the counts of an ``.h5ad`` or ``.h5mu`` file or a ``.zarr``
            folder on disk, to be read in blocks when they are needed; they must be stored as CSR.
        offline: Whether to avoid the network; by default if ``$VAE4COUNTS_OFFLINE`` is set.

    Returns:
        Observations x features, with counts in ``X`` as CSR and unique names, without what a
        counting program adds to the features (``__no_feature``, ``N_unmapped``); a `MultiData` for
        an ``.h5mu`` file of several modalities. The counts are not checked here, but where batches
        are made, when it is known which layer of a store holds them.

    Warns:
        UserWarning: A table is read as features x observations, or other data may be; features
            are of several types; counters or totals were left out.

    Raises:
        DataError: There is no such file, its format is unknown, or it is broken; or it cannot be
            downloaded.
        UnknownName: ``source`` looks like a name, and neither a data set nor a file has that
            name; or there are no features of that type, or no such modality.
    """
    given: object = source
    if not isinstance(given, (str, Path)):
        kind = type(given).__name__
        raise DataError(
            f"load takes a name or a path, not {kind}: give what is in memory to fit itself."
        )
    if not str(source).strip():
        raise DataError(f"{source!r} is neither the name of a data set nor a path.")
    if str(source) in DATASETS:
        if out_of_core:
            raise _cannot_stay(source)
        data_set = DATASETS[str(source)]
        adata = data_set.loader(offline)
        for name in modalities or ():
            if name not in data_set.modalities:
                raise UnknownName(f"modality of {source}", name, data_set.modalities)
            add_modality(adata, name, data_set.modalities[name](offline))
        return choose_feature_type(transposed(adata) if transpose else adata, feature_type, source)
    path = Path(source).expanduser()
    if not path.exists():
        if path.name == str(source) and not path.suffix:
            raise UnknownName("data set, file or folder", path.name, DATASETS)
        raise DataError(f"There is no file or folder {path}. {_accepted()}")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is neither a file nor a folder: write the data to a file.")
    too_large = None
    try:
        found = _open(path, transpose) if out_of_core else _read(path, transpose)
    except MemoryError as error:
        too_large = str(error)
    if too_large is not None:
        # not from the error: on Python 3.10 h5py's lock is held for as long as its traceback is,
        # and a thread that reads another file would wait for it
        raise DataError(f"{path} does not fit into memory: {too_large}")
    if isinstance(found, MultiData):
        if transpose or feature_type is not None:
            raise DataError(f"{path} has several modalities: transpose or choose features of one.")
        return found if modalities is None else found.only(modalities)
    if modalities is not None:
        raise DataError(f"{path} has no modalities to choose: say where they are in fit itself.")
    adata = found if out_of_core else without_counters(found, path)
    chosen = choose_feature_type(adata, feature_type, path)
    return chosen if out_of_core or not chosen.is_view else chosen.copy()


def _read(path: Path, transpose: bool | None) -> AnnData | MultiData:
    with unwrapped(path) as found:
        reader = find_reader(found)
        if reader is None:
            unknown = f"Cannot tell from its name what {path} holds. {_accepted()}"
            raise DataError(step_to_readable(path) or unknown)
        log.info("reading %s: %s", found, reader.title)
        adata = reader.read(found)
    if isinstance(adata, MultiData):
        return adata
    is_unknown = transpose is None and not reader.has_orientation
    if is_sideways(adata, path) if is_unknown else transpose:
        adata = transposed(adata)
    adata.obs_names.name = None if not reader.has_orientation else adata.obs_names.name
    if not is_unknown:
        warn_if_sideways(adata, path)
    return adata if reader.has_orientation else without_totals(adata, path)


def _open(path: Path, transpose: bool | None) -> AnnData | MultiData:
    with unwrapped(path) as found:
        reader = find_reader(found, out_of_core=True)
        if reader is None or not found.is_relative_to(path):
            raise _cannot_stay(path)
        if transpose:
            raise DataError(f"{path} cannot be transposed on disk: load it into memory.")
        adata = reader.open(found)
    if not isinstance(adata, MultiData):
        warn_if_sideways(adata, path)
    return adata


def _cannot_stay(source: object) -> DataError:
    formats = accepted_formats(out_of_core=True)
    return DataError(f"{source} cannot stay on disk; these formats can, unpacked: {formats}.")


def _accepted() -> str:
    return f"Accepted: a data set ({', '.join(DATASETS)}), or a path to {accepted_formats()}."
