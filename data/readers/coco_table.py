"""Tables of COCO's object counts: images x ``[category]-[supercategory]``."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.tables import read_frame

_COUNTED = re.compile(r"\[(?P<category>.+)\]-\[(?P<supercategory>.+)\]")


def read_coco_table(path: str | Path) -> AnnData:
    """Read a table of counts of objects.

    Args:
        path: ``.csv``, ``.gz`` or not, with the columns ``id``, ``license`` and then
            ``[category]-[supercategory]``.

    Returns:
        Images x categories. ``obs`` is indexed by image id and has ``license``; ``var`` is
        indexed by category name and has its ``supercategory``.

    Raises:
        DataError: The file is broken, or is not such a table.
    """
    path = Path(path)
    frame = read_frame(path)
    matches = _matches(frame)
    if matches is None:
        raise DataError(
            f"{path} is not a table of COCO counts: its columns must be "
            "id, license and then [category]-[supercategory]."
        )
    var = pd.DataFrame([match.groupdict() for match in matches]).set_index("category")
    return as_anndata(frame.iloc[:, 2:].to_numpy(), frame.set_index("id")[["license"]], var)


def is_coco_table(path: Path) -> bool:
    """Tell whether a ``.csv`` file has the columns of a table of COCO counts.

    Raises:
        DataError: The file is broken.
    """
    return _matches(read_frame(path, n_rows=0)) is not None


def _matches(frame: pd.DataFrame) -> list[re.Match[str]] | None:
    """Parse the names of the categories; None if the columns are others."""
    matches = [match for name in frame.columns[2:] if (match := _COUNTED.fullmatch(name))]
    is_table = list(frame.columns[:2]) == ["id", "license"] and matches
    return matches if is_table and len(matches) == len(frame.columns) - 2 else None
