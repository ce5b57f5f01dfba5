from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae4counts.data import DataError, load, read_coco_instances

INSTANCES: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "c.jpg", "license": 2, "coco_url": "http://c"},
        {"id": 10, "file_name": "a.jpg", "license": 1, "coco_url": "http://a"},
        {"id": 20, "file_name": "b.jpg", "license": 1, "coco_url": "http://b"},
    ],
    "categories": [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
    ],
    "annotations": [
        {"id": 1, "image_id": 30, "category_id": 1, "iscrowd": 0},
        {"id": 2, "image_id": 30, "category_id": 1, "iscrowd": 1},
        {"id": 3, "image_id": 20, "category_id": 90, "iscrowd": 0},
        {"id": 4, "image_id": 30, "category_id": 90, "iscrowd": 0},
    ],
}


def written(folder: Path, dataset: object) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(dataset), encoding="utf-8")
    return path


def test_counts_of_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adata = load(written(tmp_path, INSTANCES))
    assert adata.X.toarray().tolist() == [[2, 1], [0, 0], [0, 1]]
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.obs_names) == ["30", "10", "20"]
    assert adata.obs["file_name"].tolist() == ["c.jpg", "a.jpg", "b.jpg"]
    assert adata.obs["license"].tolist() == [2, 1, 1]
    assert adata.obs["coco_url"].tolist() == ["http://c", "http://a", "http://b"]
    assert list(adata.var_names) == ["person", "toothbrush"]
    assert adata.var["supercategory"].tolist() == ["person", "indoor"]
    assert adata.var["category_id"].tolist() == [1, 90]
    assert capsys.readouterr() == ("", "")


def test_crowds_can_be_left_out(tmp_path: Path) -> None:
    adata = read_coco_instances(written(tmp_path, INSTANCES), count_crowds=False)
    assert adata.X.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "instances.json.gz"
    path.write_bytes(gzip.compress(json.dumps(INSTANCES).encode()))
    assert load(path).X.sum() == 4


def test_no_annotations_at_all(tmp_path: Path) -> None:
    adata = read_coco_instances(written(tmp_path, {**INSTANCES, "annotations": []}))
    assert adata.X.toarray().tolist() == [[0, 0]] * 3


def _repeat(dataset: Any) -> None:
    dataset["images"].append(dataset["images"][0])


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "no list": (lambda d: d.pop("categories"), "has no list 'categories'"),
    "not a list": (lambda d: d.update(images={}), "has no list 'images'"),
    "no image id": (lambda d: d["images"][1].pop("id"), r"images\[1\] has no key 'id'"),
    "no name": (lambda d: d["categories"][0].pop("name"), r"categories\[0\] has no key 'name'"),
    "no category": (
        lambda d: d["annotations"][2].pop("category_id"),
        r"annotations\[2\] has no key 'category_id'",
    ),
    "no object": (lambda d: d["annotations"].insert(0, 5), r"annotations\[0\] is not an object"),
    "unknown image": (
        lambda d: d["annotations"][2].update(image_id=99),
        "annotation 3 has the image_id 99",
    ),
    "unknown category": (
        lambda d: d["annotations"][3].update(category_id=7),
        "annotation 4 has the category_id 7",
    ),
    "repeated image": (_repeat, r"images\[3\] repeats the id 30"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_missing_and_contradictory_entries_are_named(tmp_path: Path, case: str) -> None:
    change, message = BROKEN[case]
    dataset = copy.deepcopy(INSTANCES)
    change(dataset)
    path = written(tmp_path, dataset)
    with pytest.raises(DataError, match=message) as caught:
        read_coco_instances(path)
    assert str(path) in str(caught.value)


def test_iscrowd_is_needed_only_to_leave_crowds_out(tmp_path: Path) -> None:
    dataset = copy.deepcopy(INSTANCES)
    del dataset["annotations"][1]["iscrowd"]
    path = written(tmp_path, dataset)
    assert read_coco_instances(path).X.sum() == 4
    with pytest.raises(DataError, match=r"annotations\[1\] has no key 'iscrowd'"):
        read_coco_instances(path, count_crowds=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.json", b'{"images": ['),
        ("cut_later.json", b'{"images": [{"id": 1}, {"id": 2, "file_na'),
        ("list.json", b"[]"),
        ("empty.json", b""),
        ("more.json", b'{"images": []} {}'),
        ("no_comma.json", b'{"images": [{"id": 1} {"id": 2}]}'),
        ("latin.json", b"\xff\xfe\x00"),
        ("cut.json.gz", gzip.compress(b'{"images": []}', mtime=0)[:-10]),
        ("flipped.json.gz", gzip.compress(b"{}", mtime=0)[:10] + b"\xff\xff\xff\xff"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"Cannot read .*{name} as COCO JSON: "):
        load(path)


def _change(entries: str, key: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        for entry in dataset[entries]:
            entry[key] = make(entry.get(key))

    return change


SAME: dict[str, Callable[[Any], object]] = {
    "image_id as text": _change("annotations", "image_id", str),
    "category_id as text": _change("annotations", "category_id", str),
    "image_id 30.0": _change("annotations", "image_id", float),
    "ids of images as text": _change("images", "id", str),
    "ids of categories 1.0": _change("categories", "id", float),
    "one repeated annotation id": _change("annotations", "id", lambda _: 7),
    "annotation ids null": _change("annotations", "id", lambda _: None),
    "annotation ids fractional": _change("annotations", "id", lambda _: 0.5),
    "no annotation ids": lambda d: [entry.pop("id") for entry in d["annotations"]],
    "crowds null": _change("annotations", "iscrowd", lambda value: value or None),
}


@pytest.mark.parametrize("case", SAME)
def test_ids_are_the_same_as_numbers_and_as_text(tmp_path: Path, case: str) -> None:
    dataset = copy.deepcopy(INSTANCES)
    SAME[case](dataset)
    adata = load(written(tmp_path, dataset))
    assert adata.X.toarray().tolist() == [[2, 1], [0, 0], [0, 1]]
    assert list(adata.obs_names) == ["30", "10", "20"]


@pytest.mark.parametrize("value", [None, 0, 0.0, False, "0"])
def test_what_is_no_crowd(tmp_path: Path, value: object) -> None:
    dataset = copy.deepcopy(INSTANCES)
    dataset["annotations"][0]["iscrowd"] = value
    path = written(tmp_path, dataset)
    assert read_coco_instances(path, count_crowds=False).X.toarray()[0].tolist() == [1, 1]


@pytest.mark.parametrize("value", [1, 1.0, True, "1"])
def test_what_is_a_crowd(tmp_path: Path, value: object) -> None:
    dataset = copy.deepcopy(INSTANCES)
    dataset["annotations"][0]["iscrowd"] = value
    path = written(tmp_path, dataset)
    assert read_coco_instances(path, count_crowds=False).X.toarray()[0].tolist() == [0, 1]


@pytest.mark.parametrize("value", [2, -1, 0.5, "yes", [], {}])
def test_a_crowd_that_is_neither_is_named(tmp_path: Path, value: object) -> None:
    dataset = copy.deepcopy(INSTANCES)
    dataset["annotations"][2]["iscrowd"] = value
    path = written(tmp_path, dataset)
    assert load(path).X.sum() == 4
    with pytest.raises(DataError, match=r"annotations\[2\] has the iscrowd .* must be 0 or 1"):
        read_coco_instances(path, count_crowds=False)


def test_an_unknown_image_of_an_annotation_without_id(tmp_path: Path) -> None:
    dataset = copy.deepcopy(INSTANCES)
    dataset["annotations"][2] = {"image_id": "099", "category_id": 1}
    with pytest.raises(DataError, match=r"annotations\[2\] has the image_id 099"):
        load(written(tmp_path, dataset))


ODD = [None, 3, 2.5, "text", True, [1], {"a": 1}, 10**30, "", "\u2603"]


@pytest.mark.parametrize("first", ODD)
@pytest.mark.parametrize("second", ODD)
def test_metadata_of_any_type_can_be_written(tmp_path: Path, first: Any, second: Any) -> None:
    dataset: Any = copy.deepcopy(INSTANCES)
    for key in ("file_name", "width", "license", "date_captured"):
        dataset["images"][0][key], dataset["images"][1][key] = first, second
    dataset["licenses"] = [{"id": 3, "name": first}, {"id": [1], "name": 2}, {"name": second}, 5]
    dataset["categories"][0]["supercategory"] = first
    adata = load(written(tmp_path, dataset))
    adata.write_h5ad(tmp_path / "a.h5ad")
    found = load(tmp_path / "a.h5ad").obs["date_captured"]
    assert found.isna().tolist() == [
        not isinstance(value, (str, int, float)) for value in (first, second, None)
    ]
