"""JSON files of COCO's schema: counts of objects in images, or of words in their captions."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import open_bytes
from vae4counts.data.readers.json_lists import read_lists

_IMAGE_KEYS = (
    "file_name", "width", "height", "license", "coco_url", "flickr_url", "date_captured",
)  # fmt: skip
_ID_KEYS = ("id", "image_id", "category_id")
# The keys of an entry that are kept; the others, above all polygons, are nine tenths of a file.
_KEPT_KEYS = (
    "id", *_IMAGE_KEYS, "name", "url", "supercategory",
    "image_id", "category_id", "iscrowd", "caption",
)  # fmt: skip


def read_coco_instances(path: str | Path, *, count_crowds: bool = True) -> AnnData:
    """Count the annotated objects of every category in every image.

    Args:
        path: COCO's ``instances_*.json``, or any file of that schema; ``.gz`` or not.
        count_crowds: Whether an annotation of a crowd counts as one object; otherwise it is left
            out.

    Returns:
        See `count_objects`.

    Raises:
        DataError: See `count_objects`.
    """
    path = Path(path)
    with open_bytes(path) as file:
        return count_objects(file, path, count_crowds)


def count_objects(file: IO[bytes], path: Path, count_crowds: bool) -> AnnData:
    """Count the annotated objects of every category in every image.

    Polygons and boxes are dropped while reading, so that they are never in memory together.

    Args:
        file: The open file.
        path: What errors call the file.
        count_crowds: Whether an annotation of a crowd counts as one object; otherwise it is left
            out.

    Returns:
        Images x categories, in the order of the file; images without objects are all-zero
        rows. ``obs`` is indexed by image id and has those of ``file_name``, ``width``,
        ``height``, ``license``, ``coco_url``, ``flickr_url`` and ``date_captured`` that the file
        has, and ``license_name`` and ``license_url``; ``var`` is indexed by category name and has
        its ``supercategory`` and ``category_id``.

    Raises:
        DataError: The file is broken, lacks something (names it), or contradicts itself.
    """
    from pycocotools.coco import COCO

    dataset = _read(file, path)
    images = _table(path, dataset, "images", ["id"])
    categories = _table(path, dataset, "categories", ["id", "name"])
    needed = ["id", "image_id", "category_id"] + ([] if count_crowds else ["iscrowd"])
    _table(path, dataset, "annotations", needed)

    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco.createIndex()
    found = coco.loadAnns(coco.getAnnIds(iscrowd=None if count_crowds else False))
    rows = _positions(path, found, "image_id", images["id"])
    columns = _positions(path, found, "category_id", categories["id"])
    counts = sp.coo_matrix(
        (np.ones(len(found), dtype=np.int32), (rows, columns)),
        shape=(len(images), len(categories)),
    )
    var = categories.rename(columns={"id": "category_id"}).set_index("name")
    return as_anndata(
        counts, _metadata(images, dataset), var.filter(["supercategory", "category_id"])
    )


def count_words(file: IO[bytes], path: Path) -> AnnData:
    """Count the words of all captions of every image.

    Args:
        file: The open file, COCO's ``captions_*.json``.
        path: What errors call the file.

    Returns:
        Images x words (of two letters or more, in lower case, sorted), in the order of the
        file. ``obs`` is indexed by image id and has ``n_captions``.

    Raises:
        DataError: The file is broken, lacks something (names it), or has no words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    dataset = _read(file, path)
    images = _table(path, dataset, "images", ["id"])
    _table(path, dataset, "annotations", ["id", "image_id", "caption"])
    captions = dataset["annotations"]
    rows = _positions(path, captions, "image_id", images["id"])
    texts: list[list[str]] = [[] for _ in range(len(images))]
    for row, caption in zip(rows, captions, strict=True):
        texts[row].append(str(caption["caption"]))
    counter = CountVectorizer()
    with reading(path, "captions"):
        counts = counter.fit_transform(map("\n".join, texts))
    obs = pd.DataFrame({"n_captions": [len(text) for text in texts]}, index=images["id"])
    return as_anndata(counts, obs, pd.DataFrame(index=counter.get_feature_names_out()))


def _read(file: IO[bytes], path: Path) -> dict[str, Any]:
    def shrink(entry: Any) -> Any:
        # a new dictionary, whose keys all entries share: the parser makes new strings for each
        if not isinstance(entry, dict):
            return entry
        return {key: entry[key] for key in _KEPT_KEYS if key in entry}

    with reading(path, "COCO JSON"):
        return read_lists(file, shrink)


def _metadata(images: pd.DataFrame, dataset: dict[str, Any]) -> pd.DataFrame:
    obs = images.set_index("id").filter(_IMAGE_KEYS)
    licences = dataset.get("licenses")
    if "license" in obs and isinstance(licences, list):
        known = {
            entry["id"]: entry for entry in licences if isinstance(entry, dict) and "id" in entry
        }
        for key in ("name", "url"):
            named = obs["license"].map({number: known[number].get(key) for number in known})
            obs[f"license_{key}"] = pd.Categorical(named)
    return obs


def _table(path: Path, dataset: dict[str, Any], part: str, keys: list[str]) -> pd.DataFrame:
    """Return one list of the file as a table, after checking that it has what is needed."""
    if not isinstance(dataset.get(part), list):
        raise DataError(f"{path} is not a COCO file of this kind: it has no list {part!r}.")
    for position, entry in enumerate(dataset[part]):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise DataError(f"{path}: {part}[{position}] has no key {key!r}.")
            if key in _ID_KEYS and not _is_id(entry[key]):
                raise DataError(
                    f"{path}: {part}[{position}] has a {key!r} that is neither text nor a whole "
                    "number of 64 bits."
                )
    table = pd.DataFrame(dataset[part], columns=None if dataset[part] else keys)
    if (repeated := table["id"].duplicated().to_numpy()).any():
        position = int(repeated.argmax())
        raise DataError(
            f"{path}: {part}[{position}] repeats the id {table['id'].iloc[position]} "
            "of an earlier entry."
        )
    return table


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63)


def _positions(path: Path, found: list[dict[str, Any]], key: str, ids: pd.Series) -> np.ndarray:
    """Return the positions in a list of the ids that annotations refer to."""
    wanted = [annotation[key] for annotation in found]
    positions = pd.Index(ids).get_indexer(pd.Index(wanted))
    if (positions < 0).any():
        lost = found[int((positions < 0).argmax())]
        raise DataError(
            f"{path}: annotation {lost['id']} has the {key} {lost[key]}, which the file does "
            "not describe."
        )
    return positions
