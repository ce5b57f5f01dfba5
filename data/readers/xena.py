"""UCSC Xena's tables: features x samples as text, read in blocks of features."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.compression import open_bytes
from vae4counts.data.readers.utf8 import decode, is_number

BLOCK_SIZE = 256  # features


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some features of all samples.

    Attributes:
        features: Their ``B`` names.
        numbers: Shape ``(B, N)``, float64; NaN where the table has nothing or ``NA``.
        lines: Line of each feature in the file, from 1.
    """

    features: list[str]
    numbers: np.ndarray
    lines: list[int]


def read_samples(path: Path) -> list[str]:
    """Read the header of a table: the names of its samples.

    Raises:
        DataError: The file is broken, or names a sample twice.
    """
    with reading(path, "a table"), open_bytes(path) as file:
        header = file.readline().rstrip(b"\r\n")
    names = decode(header, path, 1).split("\t")[1:]
    if not names:
        raise DataError(f"{path}, line 1: no samples; the header must be tab-separated.")
    if (repeated := pd.Index(names).duplicated()).any():
        raise DataError(f"{path}, line 1: repeats the sample {names[int(repeated.argmax())]!r}.")
    return names


def read_blocks(path: Path, size: int = BLOCK_SIZE) -> Iterator[Block]:
    """Read a table in blocks of features, so that it is never in memory as a whole.

    Args:
        path: Tab-separated, ``.gz`` or not; the first line names the samples, and the first
            column the features.
        size: Features in a block.

    Raises:
        DataError: The file is broken, a line is too short or too long, or a value is not a
            number.
    """
    n = len(read_samples(path))
    names: list[str] = []
    texts: list[bytes] = []
    lines: list[int] = []
    with reading(path, "a table"), open_bytes(path) as file:
        file.readline()
        for line, text in enumerate(file, start=2):
            if (found := text.count(b"\t")) != n:
                if not text.strip():
                    continue
                raise DataError(f"{path}, line {line}: has {found} values for {n} samples.")
            name, _, values = text.rstrip(b"\r\n").partition(b"\t")
            names.append(decode(name, path, line))
            texts.append(values)
            lines.append(line)
            if len(names) == size:
                yield Block(names, _numbers(path, texts, lines), lines)
                names, texts, lines = [], [], []
    if names:
        yield Block(names, _numbers(path, texts, lines), lines)


def _numbers(path: Path, texts: list[bytes], lines: list[int]) -> np.ndarray:
    # one value in a line: pandas reads long columns much faster than wide tables
    column = b"\n".join(texts).replace(b"\t", b"\n") + b"\n"
    try:
        values = pd.read_csv(
            io.BytesIO(column),
            header=None,
            names=["value"],
            dtype=np.float64,
            skip_blank_lines=False,
            sep="\x1f",
            quoting=csv.QUOTE_NONE,
        ).to_numpy()
    except ValueError as error:
        for line, text in zip(lines, texts, strict=True):
            for value in text.split(b"\t"):
                if value not in (b"", b"NA") and not is_number(value):
                    word = value.decode(errors="replace")
                    raise DataError(f"{path}, line {line}: {word!r} is not a number.") from error
        raise
    return values.reshape(len(texts), -1)
