"""Compressed files, read up to a size."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO, Any

from vae4counts.data.errors import DataError
from vae4counts.data.readers.archives import MAX_UNPACKED_SIZE

_BUFFER_SIZE = 2**20  # bytes


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, ``.gz`` or not, for reading.

    Reading a compressed file raises a `DataError` after `MAX_UNPACKED_SIZE` bytes, because a few
    bytes can expand without end.
    """
    if path.suffix != ".gz":
        return path.open("rb")
    return io.BufferedReader(_BoundedGzip(path), _BUFFER_SIZE)


def check_unpacks(path: Path) -> None:
    """Read a compressed file to its end, for readers in C++ that an error in it would crash.

    Raises:
        DataError: It unpacks to more than `MAX_UNPACKED_SIZE` bytes.
        OSError: It is not compressed, or is damaged.
        EOFError: It is truncated.
    """
    if path.suffix == ".gz":
        with open_bytes(path) as file:
            while file.read(_BUFFER_SIZE):
                pass


class _BoundedGzip(io.RawIOBase):
    """The content of a compressed file, up to a size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.GzipFile(path)
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
