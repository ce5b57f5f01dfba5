"""COCO: how many objects of every category an image shows."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.annotated import annotated
from vae4counts.data.errors import DataError, reading
from vae4counts.data.tables import read_frame

_COUNTED = re.compile(r"\[(?P<category>.+)\]-\[(?P<supercategory>.+)\]")


def load_coco2017_object_counts(source: str | Path, *, count_crowds: bool = True) -> AnnData:
    """Counts the annotated objects of every category in every image.

    Args:
        source: COCO's ``instances_*.json`` (or any file of that schema), or a table of such
            counts with the columns ``id``, ``license`` and ``[category]-[supercategory]``;
            ``.gz`` or not.
        count_crowds: Whether an annotation of a crowd counts as one object, or is left out.

    Returns:
        Images x categories, in the order of the file; images without objects are all-zero
        rows. ``obs`` is indexed by image id and has what the file has of ``file_name``,
        ``license`` and ``coco_url``; ``var`` is indexed by category name and has its
        ``supercategory`` and, from JSON, its ``category_id``.

    Raises:
        DataError: If the file is broken, lacks something (names it), or contradicts itself.
    """
    path = Path(source)
    if not path.name.endswith((".csv", ".csv.gz")):
        return _from_instances(path, count_crowds)
    if not count_crowds:
        raise DataError(f"{path} is a table that counts crowds; leave them out from the JSON file.")
    return _from_table(path)


def is_coco_table(path: Path) -> bool:
    """Tells whether a ``.csv`` file has the columns of a table of COCO counts."""
    columns = read_frame(path, n_rows=0).columns
    named = list(columns[:2]) == ["id", "license"] and len(columns) > 2
    return named and all(map(_COUNTED.fullmatch, columns[2:]))


def _from_table(path: Path) -> AnnData:
    frame = read_frame(path)
    matches = [_COUNTED.fullmatch(column) for column in frame.columns[2:]]
    if list(frame.columns[:2]) != ["id", "license"] or None in matches or not matches:
        raise DataError(
            f"{path} is not a table of COCO counts: its columns must be "
            "id, license and then [category]-[supercategory]."
        )
    var = pd.DataFrame([match.groupdict() for match in matches if match]).set_index("category")
    return annotated(frame.iloc[:, 2:].to_numpy(), frame.set_index("id")[["license"]], var)


def _from_instances(path: Path, count_crowds: bool) -> AnnData:
    from pycocotools.coco import COCO

    with reading(path, "COCO JSON"):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            dataset = json.load(file)
    images = _table(path, dataset, "images", ["id"])
    categories = _table(path, dataset, "categories", ["id", "name"])
    needed = ["id", "image_id", "category_id"] + ([] if count_crowds else ["iscrowd"])
    _table(path, dataset, "annotations", needed)

    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        coco.createIndex()
    found = coco.loadAnns(coco.getAnnIds(iscrowd=None if count_crowds else False))
    rows = _positions(path, found, "image_id", images["id"])
    columns = _positions(path, found, "category_id", categories["id"])
    counts = sp.coo_matrix(
        (np.ones(len(found), dtype=np.int32), (rows, columns)),
        shape=(len(images), len(categories)),
    )
    obs = images.set_index("id").filter(["file_name", "license", "coco_url"])
    var = categories.rename(columns={"id": "category_id"}).set_index("name")
    return annotated(counts, obs, var.filter(["supercategory", "category_id"]))


def _table(path: Path, dataset: Any, part: str, keys: list[str]) -> pd.DataFrame:
    """Gives one list of the file as a table, once it is known to hold what is needed."""
    if not isinstance(dataset, dict) or not isinstance(dataset.get(part), list):
        raise DataError(f"{path} is not a COCO instances file: it has no list {part!r}.")
    for position, entry in enumerate(dataset[part]):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise DataError(f"{path}: {part}[{position}] has no key {key!r}.")
    table = pd.DataFrame(dataset[part], columns=None if dataset[part] else keys)
    if (repeated := table["id"].duplicated().to_numpy()).any():
        position = int(repeated.argmax())
        raise DataError(
            f"{path}: {part}[{position}] repeats the id {table['id'].iloc[position]} "
            "of an earlier entry."
        )
    return table


def _positions(path: Path, found: list[dict[str, Any]], key: str, ids: pd.Series) -> np.ndarray:
    """Finds where the ids that annotations point to stand in their list."""
    wanted = [annotation[key] for annotation in found]
    positions = pd.Index(ids).get_indexer(pd.Index(wanted))
    if (positions < 0).any():
        lost = found[int((positions < 0).argmax())]
        raise DataError(
            f"{path}: annotation {lost['id']} has the {key} {lost[key]}, which the file does "
            "not describe."
        )
    return positions
