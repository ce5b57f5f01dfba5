"""Checks of untrusted stores: nothing in them may point outside, or run code.

An HDF5 file can hold links to other files, and arrays whose values are the bytes of any file on
the machine; a zarr folder can hold links, and name a decoder that runs what it decodes. Whoever
reads such a store, and passes on the results, gives away the files that it points to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from vae4counts.data.errors import DataError

_METADATA = (".zarray", ".zmetadata", "zarr.json")
_CODEC_KEYS = ("codecs", "compressor", "filters", "index_codecs")
# Decoders that return numbers and text; numcodecs also has one that unpickles, and so runs code.
_SAFE_CODECS = frozenset(
    {
        "adler32", "astype", "base64", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c",
        "delta", "endian", "fixedscaleoffset", "fletcher32", "gzip", "json2", "lz4", "lzma",
        "packbits", "quantize", "sharding_indexed", "shuffle", "transpose", "vlen-array",
        "vlen-bytes", "vlen-utf8", "zlib", "zstd",
    }
)  # fmt: skip


def check_hdf5(path: Path) -> None:
    """Make sure that an HDF5 file does not refer to other files, and that no group holds itself.

    Raises:
        DataError: It holds an external link, or an array whose values are in another file, or a
            group inside itself, which would be read without end.
    """
    with h5py.File(path, "r") as file:
        # h5py cannot pass on an exception that is raised during a visit
        link = file.visititems_links(_external_link)
        fault = link or file.visititems(_external_values)
        names: list[str] = []
        file.visititems_links(lambda name, _: names.append(name))
        loop = None if fault else next((name for name in names if _is_loop(file, name)), None)
    if fault:
        raise DataError(f"{path}: {fault}: a store may not refer to other files.")
    if loop:
        raise DataError(f"Cannot read {path}: its group {loop!r} is inside itself.")


def _external_link(name: str, link: Any) -> str | None:
    is_external = isinstance(link, h5py.ExternalLink)
    return f"{name!r} is a link to another file, {link.filename}" if is_external else None


def _is_loop(file: h5py.File, name: str) -> bool:
    """Tell whether a group is one of those that it is in."""
    if name not in file or file.get(name, getclass=True) is not h5py.Group:
        return False
    return any(file[str(above)] == file[name] for above in PurePosixPath("/", name).parents)


def _external_values(name: str, found: Any) -> str | None:
    if not isinstance(found, h5py.Dataset) or not (found.external or found.is_virtual):
        return None
    parts = found.virtual_sources() if found.is_virtual else found.external
    others = sorted({part[1] if found.is_virtual else part[0] for part in parts})
    return f"{name!r} has its values in another file, {', '.join(others)}"


def check_zarr(folder: Path) -> None:
    """Make sure that a zarr folder does not refer to other files, and that it decodes safely.

    Raises:
        DataError: It holds a link or a device, or names a decoder that is not known to be safe.
    """
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in folders + files):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise DataError(f"{path} is a link or a device: a store may hold only plain files.")
        for name in set(_METADATA).intersection(files):
            path = Path(place, name)
            for codec in _codecs(json.loads(path.read_text(encoding="utf-8"))):
                if codec not in _SAFE_CODECS:
                    raise DataError(
                        f"{path} names the decoder {codec!r}, which is not known to be safe."
                    )


def _codecs(value: Any, coded: bool = False) -> Iterator[str]:
    """Yield the names of the decoders in a piece of metadata."""
    if isinstance(value, list):
        for item in value:
            yield from _codecs(item, coded)
    elif isinstance(value, dict):
        if coded:
            yield str(value.get("id", value.get("name"))).removeprefix("numcodecs.")
        for key, item in value.items():
            yield from _codecs(item, coded=key in _CODEC_KEYS)
    elif coded and isinstance(value, str):
        yield value
