"""Small tables of text that describe each observation in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.compression import open_bytes
from vae4counts.data.readers.utf8 import decode


def read_records(path: Path, key: str, needed: Sequence[str]) -> pd.DataFrame:
    """Read a small table of text that describes each of many things once.

    Args:
        path: Tab-separated with a header, ``.gz`` or not.
        key: The column that names what a row describes.
        needed: Other columns that must exist.

    Returns:
        All columns as text, indexed by ``key``; NaN where there is nothing.

    Raises:
        DataError: The file is broken, lacks a column, has a line that is too short or too long,
            or describes something twice.
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
