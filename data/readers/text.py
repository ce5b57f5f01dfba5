"""Text files line by line, with errors that name file and line."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.archives import LARGEST

_BUFFER = 2**20  # bytes


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, ``.gz`` or not, for reading.

    Reading a compressed file raises a `DataError` after `LARGEST` bytes, as a few bytes can be
    made to grow without end.
    """
    return io.BufferedReader(_Bounded(path), _BUFFER) if path.suffix == ".gz" else path.open("rb")


def check_unpacks(path: Path) -> None:
    """Reads a compressed file to its end, for readers in C++ that an error of it would break.

    Raises:
        DataError: It unpacks to more than `LARGEST` bytes.
        OSError: It is not compressed, or damaged.
        EOFError: It is cut short.
    """
    if path.suffix == ".gz":
        with open_bytes(path) as file:
            while file.read(_BUFFER):
                pass


class _Bounded(io.RawIOBase):
    """What a compressed file holds, up to a size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.GzipFile(path)
        self._left = LARGEST

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        size = self._file.readinto(target)
        self._left -= size
        if self._left < 0:
            raise DataError(f"{self._path} is larger than is allowed, unpacked ({LARGEST} bytes).")
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def decode(text: bytes, path: Path, line: int) -> str:
    """Decodes one line of a file.

    Raises:
        DataError: If it is no UTF-8.
    """
    try:
        return text.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {line}: byte {text[error.start]:#04x} at position {error.start} is no "
            "UTF-8: convert the file."
        ) from error


def read_records(path: Path, key: str, needed: Sequence[str]) -> pd.DataFrame:
    """Reads a small table of text that describes each of many things once.

    Args:
        path: Tab-separated with a header, ``.gz`` or not.
        key: The column that names what a row describes.
        needed: Other columns that must be there.

    Returns:
        All columns, as text, indexed by ``key``; NaN where there is nothing.

    Raises:
        DataError: If the file is broken, lacks a column, has a line that is too short or too
            long, or describes something twice.
    """
    rows: list[list[str]] = []
    lines: dict[str, int] = {}
    with reading(path, "a tab-separated table"), open_bytes(path) as file:
        header = decode(file.readline().rstrip(b"\r\n"), path, 1).split("\t")
        if missing := [name for name in (key, *needed) if name not in header]:
            raise DataError(f"{path}, line 1: has no column {missing[0]!r}, but {header}.")
        position = header.index(key)
        for line, text in enumerate(file, start=2):
            if not text.strip():
                continue
            row = decode(text.rstrip(b"\r\n"), path, line).split("\t")
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {line}: has {len(row)} values for {len(header)} columns."
                )
            first = lines.setdefault(row[position], line)
            if first != line:
                raise DataError(f"{path}, line {line}: repeats {row[position]!r} of line {first}.")
            rows.append(row)
    frame = pd.DataFrame(rows, columns=header, dtype=object).set_index(key)
    return frame.mask(frame == "")
