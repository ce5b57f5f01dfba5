"""Names of features and cells in files beside a Matrix Market file, which has none."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

from vae4counts.data.readers.compression import bare_name, open_bytes
from vae4counts.data.readers.utf8 import reading_text

FEATURES = "features"
CELLS = "cells"
# What precedes the word is the prefix that a file shares with its matrix: ``GSM1_S1_barcodes.tsv``.
_NAMED = {
    FEATURES: re.compile(r"(?P<prefix>.*[._-])?(features?|genes?|peaks?)(_names)?\.(tsv|txt|csv)"),
    CELLS: re.compile(
        r"(?P<prefix>.*[._-])?(barcodes?|cells?|cell_(names|metadata))\.(tsv|txt|csv)"
    ),
}


def find_names(matrix: Path, axis: str) -> Path | None:
    """Find the file that names the features or the cells of a matrix; None if there is none.

    Args:
        matrix: A Matrix Market file.
        axis: ``FEATURES`` or ``CELLS``.

    Returns:
        The file in the same folder with the longest prefix that the matrix has too. Where the
        matrix is the only one of its folder, the prefix may be any.
    """
    beside = [path for path in sorted(matrix.parent.iterdir()) if path.is_file()]
    is_alone = sum(bare_name(path).endswith(".mtx") for path in beside) == 1
    found: dict[Path, int] = {}
    for path in beside:
        if match := _NAMED[axis].fullmatch(bare_name(path)):
            prefix = match["prefix"] or ""
            if is_alone or bare_name(matrix).startswith(prefix):
                found[path] = len(prefix) if bare_name(matrix).startswith(prefix) else -1
    return max(found, key=lambda path: found[path], default=None)


def read_names(path: Path) -> pd.DataFrame:
    """Read a table of names, all of it as text.

    Raises:
        DataError: The file is broken.
    """
    is_csv = bare_name(path).endswith(".csv")
    with reading_text(path, "a table of names"), open_bytes(path) as file:
        # a gene may be called "NA" or, between tabs, contain a quote: all of it is text
        return pd.read_csv(
            file,
            sep="," if is_csv else "\t",
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE,
        )
