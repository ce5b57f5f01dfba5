"""From what a person names to the data in it: archives, compressed stores, and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vae4counts.data.errors import DataError
from vae4counts.data.readers.archives import unpack
from vae4counts.data.readers.compression import SUFFIXES, bare_name, decompress, is_compressed
from vae4counts.data.readers.registry import accepted_formats, find_reader
from vae4counts.data.readers.stores import store_kind

_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", *(f".tar{end}" for end in SUFFIXES))
_STORES = (".h5ad", ".h5", ".h5mu", ".hdf5", ".loom")
_TABLES = (".csv", ".tsv", ".txt", ".gct")
_MAX_DEPTH = 4  # folders below a folder, and containers in a container
_MAX_ENTRIES = 10_000


@contextmanager
def unwrapped(source: Path) -> Iterator[Path]:
    """Give the file or folder of data that is in a container, unpacked if need be.

    Args:
        source: A file or folder: an archive, a compressed file, a folder with data somewhere
            inside, or the data themselves.

    Yields:
        A path that a reader may take. What was unpacked exists as long as the context; errors
        raised inside name ``source`` instead of its place.

    Raises:
        DataError: It cannot be unpacked, or holds no data or several.
    """
    with TemporaryDirectory(prefix="vae4counts-") as place:
        try:
            found = source
            for layer in range(_MAX_DEPTH):
                inner = _inside(found, Path(place) / str(layer))
                if inner is None:
                    break
                found = inner
            yield found
        except DataError as error:
            text = str(error)
            if place not in text:
                raise
            for layer in range(_MAX_DEPTH):
                text = text.replace(str(Path(place) / str(layer)), str(source))
            raise DataError(text) from error


def _inside(path: Path, place: Path) -> Path | None:
    """Return what a container holds, unpacked into a place; None if it is the data."""
    if path.is_dir():
        inner = _data_in(path)
        return None if inner == path else inner
    if path.name.lower().endswith(_ARCHIVES):
        return unpack(path, place)
    # a text is read as it is unpacked
    return decompress(path, place) if is_compressed(path) and find_reader(path) is None else None


def _data_in(folder: Path) -> Path:
    """Return the one set of data in a folder, which may be the folder itself.

    Of raw and filtered ones, as Cell Ranger and STARsolo write them side by side, it is the
    filtered one. Tables count only where there is nothing else.

    Raises:
        DataError: There is none, or several.
    """
    found = _candidates(folder)
    filtered = [path for path in found if _is_filtered(path, folder)]
    found = filtered or found
    # the same matrix, as a folder and as HDF5
    found = [path for path in found if path.with_name(f"{path.name}.h5") not in found]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        more = ", ..." if len(found) > 5 else ""
        raise DataError(
            f"{folder} holds {len(found)} sets of data, not one: name the one that you mean "
            f"({names}{more}), after unpacking if this is an archive."
        )
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    raise DataError(
        f"{folder} is a folder without data of a known format: it holds {names}. "
        f"Accepted: {accepted_formats()}."
    )


def _is_filtered(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return any("filtered" in part and "unfiltered" not in part for part in parts)


def _candidates(folder: Path) -> list[Path]:
    """Return the stores and matrices in a folder; a folder with one matrix stands for it."""
    matrices, tables, n_entries = [], [], 0
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if store_kind(here):
            folders.clear()
            matrices.append(here)
            continue
        names = {path: bare_name(path) for path in (here / name for name in sorted(files))}
        texts = [path for path, name in names.items() if name.endswith(".mtx")]
        matrices += [here] if len(texts) == 1 else texts
        stores = [path for path, name in names.items() if name.endswith(_STORES)]
        matrices += [path for path in stores if is_compressed(path) or store_kind(path)]
        tables += [path for path, name in names.items() if name.endswith(_TABLES)]
        folders.sort()
        n_entries += len(files)
        if len(here.relative_to(folder).parts) >= _MAX_DEPTH or n_entries > _MAX_ENTRIES:
            folders.clear()
    return matrices or tables
