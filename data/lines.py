"""Text files line by line, with errors that name file and line."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import pandas as pd

from vae4counts.data.errors import DataError, reading


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, ``.gz`` or not, for reading."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


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
