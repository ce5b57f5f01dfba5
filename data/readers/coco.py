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
    needed = ["image_id", "category_id"] + ([] if count_crowds else ["iscrowd"])
    found = _entries(path, dataset, "annotations", needed)
    rows = _positions(path, found, "image_id", images.index)
    columns = _positions(path, found, "category_id", categories.index)
    crowds = [not count_crowds and _is_crowd(entry, path, i) for i, entry in enumerate(found)]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": name} for name in images.index],
        "categories": [{"id": name} for name in categories.index],
        # annotations need no ids of their own: they have their places
        "annotations": [
            {
                "id": place,
                "image_id": _id(entry["image_id"]),
                "category_id": _id(entry["category_id"]),
                "iscrowd": crowd,
            }
            for place, (entry, crowd) in enumerate(zip(found, crowds, strict=True))
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco.createIndex()
    kept = np.array(coco.getAnnIds(iscrowd=None if count_crowds else False), dtype=np.int64)
    counts = sp.coo_matrix(
        (np.ones(len(kept), dtype=np.int32), (rows[kept], columns[kept])),
        shape=(len(images), len(categories)),
    )
    var = categories.rename(columns={"id": "category_id"}).set_index("name")
    var = _text_or_numbers(var.filter(["supercategory", "category_id"]))
    return as_anndata(counts, _metadata(images, dataset), var)


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
    captions = _entries(path, dataset, "annotations", ["image_id", "caption"])
    rows = _positions(path, captions, "image_id", images.index)
    texts: list[list[str]] = [[] for _ in range(len(images))]
    for row, caption in zip(rows, captions, strict=True):
        texts[row].append(str(caption["caption"]))
    counter = CountVectorizer()
    with reading(path, "captions"):
        counts = counter.fit_transform(map("\n".join, texts))
    obs = pd.DataFrame({"n_captions": [len(text) for text in texts]}, index=images.index)
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
    obs = images.filter(_IMAGE_KEYS)
    licences = dataset.get("licenses")
    if "license" in obs and isinstance(licences, list):
        known = {_id(entry.get("id")): entry for entry in licences if isinstance(entry, dict)}
        entries = [known.get(_id(number), {}) for number in obs["license"]]
        for key in ("name", "url"):
            named = [entry.get(key) for entry in entries]
            obs[f"license_{key}"] = pd.Series(named, obs.index, dtype=object)
    return _text_or_numbers(obs)


def _text_or_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return metadata of one type a column; what is neither number nor text becomes missing.

    JSON may hold anything, but a column of an ``.h5ad`` file only one type.
    """
    columns = {name: _one_type(list(table[name])) for name in table}
    return pd.DataFrame(columns, index=table.index)


def _one_type(values: list[Any]) -> Any:
    is_plain = [isinstance(value, (str, int, float)) and value == value for value in values]
    present = [value for value, plain in zip(values, is_plain, strict=True) if plain]
    if not any(isinstance(value, (str, bool)) or abs(value) >= 2**63 for value in present):
        numbers = [
            value if plain else np.nan for value, plain in zip(values, is_plain, strict=True)
        ]
        return np.array(numbers)
    texts = [str(value) if plain else None for value, plain in zip(values, is_plain, strict=True)]
    # text with gaps is written as categories only
    return texts if all(is_plain) else pd.Categorical(texts)


def _table(path: Path, dataset: dict[str, Any], part: str, keys: list[str]) -> pd.DataFrame:
    """Return one list of the file as a table, indexed by the ids of its entries as text."""
    entries = _entries(path, dataset, part, keys)
    ids = pd.Index([_id(entry["id"]) for entry in entries], dtype=object)
    if (repeated := ids.duplicated()).any():
        position = int(repeated.argmax())
        raise DataError(
            f"{path}: {part}[{position}] repeats the id {ids[position]} of an earlier entry."
        )
    return pd.DataFrame(entries, ids, columns=None if entries else keys)


def _entries(path: Path, dataset: dict[str, Any], part: str, keys: list[str]) -> list[Any]:
    """Return one list of the file, after checking that its entries have what is needed."""
    if not isinstance(dataset.get(part), list):
        raise DataError(f"{path} is not a COCO file of this kind: it has no list {part!r}.")
    for position, entry in enumerate(dataset[part]):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {part}[{position}] is not an object with keys.")
        for key in keys:
            if key not in entry:
                raise DataError(f"{path}: {part}[{position}] has no key {key!r}.")
            if key in _ID_KEYS and _id(entry[key]) is None:
                raise DataError(
                    f"{path}: {part}[{position}] has a {key!r} that is neither text nor a whole "
                    "number of 64 bits."
                )
    return dataset[part]


def _id(value: Any) -> str | None:
    """Return an id as text, the same for 7, 7.0 and "7"; None if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return str(value) if is_number or isinstance(value, str) else None


def _is_crowd(entry: dict[str, Any], path: Path, position: int) -> bool:
    """Tell whether an annotation is of a crowd; null, 0, 0.0, false and "0" are not."""
    value = entry["iscrowd"]
    flag = "0" if value is None else str(int(value)) if value in (0, 1) else value
    if flag not in ("0", "1"):
        raise DataError(
            f"{path}: annotations[{position}] has the iscrowd {value!r}: it must be 0 or 1."
        )
    return flag == "1"


def _positions(path: Path, found: list[dict[str, Any]], key: str, ids: pd.Index) -> np.ndarray:
    """Return the positions in a list of the ids that annotations refer to."""
    positions = ids.get_indexer(pd.Index([_id(entry[key]) for entry in found], dtype=object))
    if (positions < 0).any():
        place = int((positions < 0).argmax())
        number = _id(found[place].get("id"))
        annotation = f"annotations[{place}]" if number is None else f"annotation {number}"
        raise DataError(
            f"{path}: {annotation} has the {key} {_id(found[place][key])}, which the file does "
            "not describe."
        )
    return positions
