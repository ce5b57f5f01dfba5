"""Compressed files, known by their first bytes and read up to a size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.archives import MAX_UNPACKED_SIZE

SUFFIXES = (".gz", ".bz2", ".xz")
_BUFFER_SIZE = 2**20  # bytes
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


def bare_name(path: Path) -> str:
    """Return the name of a file in lower case, without the suffix of a compression."""
    name = path.name.lower()
    return name[: name.rindex(".")] if name.endswith(SUFFIXES) else name


def is_compressed(path: Path) -> bool:
    """Tell by its first bytes whether a path is a compressed file, whatever its name."""
    return path.is_file() and _opener(path) is not None


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, compressed or not, for reading.

    Browsers unpack a file and keep its name, so that the first bytes decide. Reading a compressed
    file raises a `DataError` after `MAX_UNPACKED_SIZE` bytes, because a few bytes can expand
    without end.
    """
    opener = _opener(path)
    if opener is None:
        return path.open("rb")
    return io.BufferedReader(_BoundedFile(path, opener(path)), _BUFFER_SIZE)


def decompress(path: Path, folder: Path) -> Path:
    """Write the content of a compressed file into a new folder, for readers that need all of it.

    Returns:
        The new file, named as the compressed one without the suffix of the compression.

    Raises:
        DataError: See `open_bytes`.
    """
    folder.mkdir(exist_ok=True)
    target = folder / (path.stem if path.name.lower().endswith(SUFFIXES) else path.name)
    with (
        reading(path, "a compressed file"),
        open_bytes(path) as source,
        target.open("xb") as sink,
    ):
        while chunk := source.read(_BUFFER_SIZE):
            sink.write(chunk)
    return target


def _opener(path: Path) -> Callable[[Path], Any] | None:
    with path.open("rb") as file:
        start = file.read(max(map(len, _OPENERS)))
    return next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)


class _BoundedFile(io.RawIOBase):
    """The content of a compressed file, up to a size."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        self._file = file
        self._left = MAX_UNPACKED_SIZE

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        size = self._file.readinto(target)
        self._left -= size
        if self._left < 0:
            raise DataError(
                f"{self._path} is larger than is allowed when unpacked ({MAX_UNPACKED_SIZE} bytes)."
            )
        return size

    def close(self) -> None:
        self._file.close()
        super().close()
