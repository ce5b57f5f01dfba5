from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vae4counts.data import (
    DataError,
    UnknownName,
    load,
    load_coco2017_captions,
    load_coco2017_object_counts,
)
from vae4counts.data.datasets.coco2017 import ANNOTATIONS

IMAGES = [
    {
        "id": number,
        "file_name": f"{number:012}.jpg",
        "width": 640,
        "height": 480 + number,
        "license": 1 + number % 2,
        "coco_url": f"http://coco/{number}",
        "flickr_url": f"http://flickr/{number}",
        "date_captured": "2013-11-14 17:02:52",
    }
    for number in (139, 25, 632)
]
LICENCES = [
    {"id": 1, "name": "Attribution License", "url": "http://by"},
    {"id": 2, "name": "No known copyright restrictions", "url": "http://none"},
]
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 25, "name": "giraffe", "supercategory": "animal"},
]


def shape(number: int, image: int, category: int, crowd: int = 0) -> dict[str, Any]:
    crowded = {"counts": [3, 4, 5], "size": [4, 3]}
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "iscrowd": crowd,
        "segmentation": crowded if crowd else [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5]],
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "area": 12.5,
    }


INSTANCES = {
    "info": {"year": 2017, "contributors": ["a", "b"]},
    "licenses": LICENCES,
    "images": IMAGES,
    "annotations": [shape(1, 139, 1), shape(2, 139, 1, 1), shape(3, 25, 25), shape(4, 139, 25)],
    "categories": CATEGORIES,
}
CAPTIONS = {
    "info": {},
    "images": [IMAGES[2], IMAGES[0], IMAGES[1]],
    "annotations": [
        {"id": 9, "image_id": 25, "caption": "A giraffe, eating."},
        {"id": 5, "image_id": 139, "caption": "Two people and a GIRAFFE"},
        {"id": 6, "image_id": 139, "caption": "people people"},
        {"id": 7, "image_id": 632, "caption": "nobody"},
    ],
}
COUNTS = [[2, 1], [0, 1], [0, 0]]
MEMBERS = {"instances_val2017": INSTANCES, "captions_val2017": CAPTIONS}


def in_zip(folder: Path) -> Path:
    path = folder / ANNOTATIONS.name
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(f"annotations/{name}.json", json.dumps(content))
    return path


def in_json(folder: Path) -> Path:
    for name, content in MEMBERS.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "instances_val2017.json"


def in_gzip(folder: Path) -> Path:
    for name, content in MEMBERS.items():
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    return folder / "instances_val2017.json.gz"


def in_folder(folder: Path) -> Path:
    in_json(folder)
    return folder


def in_unpacked_folder(folder: Path) -> Path:
    (folder / "annotations").mkdir()
    in_gzip(folder / "annotations")
    return folder


@pytest.mark.parametrize("put", [in_zip, in_json, in_gzip, in_folder, in_unpacked_folder])
def test_from_every_source(tmp_path: Path, put: Any) -> None:
    adata = load_coco2017_object_counts("val", put(tmp_path), captions=True)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.obs_names) == ["139", "25", "632"]
    assert adata.var["supercategory"].tolist() == ["person", "animal"]
    assert adata.var["category_id"].tolist() == [1, 25]
    for key in IMAGES[0]:
        if key != "id":
            assert adata.obs[key].tolist() == [image[key] for image in IMAGES]
    assert adata.obs["license_name"].tolist()[0] == "No known copyright restrictions"
    assert adata.obs["license_url"].tolist() == ["http://none", "http://none", "http://by"]
    words = adata.uns["captions_features"].tolist()
    assert words == ["and", "eating", "giraffe", "nobody", "people", "two"]
    assert adata.obsm["captions"].toarray().tolist() == [
        [1, 0, 1, 0, 3, 1],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
    ]
    assert adata.obs["has_captions"].all()
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = load(tmp_path / "a.h5ad")
    assert (read.obsm["captions"] != adata.obsm["captions"]).nnz == 0


def test_captions_are_counts_of_their_own(tmp_path: Path) -> None:
    captions = load_coco2017_captions("val", in_zip(tmp_path))
    assert list(captions.obs_names) == ["632", "139", "25"]
    assert captions.obs["n_captions"].tolist() == [1, 2, 1]
    assert captions.X.sum() == 9


def test_crowds_can_be_left_out(tmp_path: Path) -> None:
    adata = load_coco2017_object_counts("val", in_zip(tmp_path), count_crowds=False)
    assert adata.X.toarray().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_an_image_without_captions_is_reported(tmp_path: Path) -> None:
    path = in_json(tmp_path)
    fewer = {**CAPTIONS, "images": IMAGES[:2], "annotations": CAPTIONS["annotations"][:3]}
    (tmp_path / "captions_val2017.json").write_text(json.dumps(fewer))
    with pytest.warns(UserWarning, match="1 of 3 observations have no captions: 632"):
        adata = load_coco2017_object_counts("val", path, captions=True)
    assert adata.obs["has_captions"].tolist() == [True, True, False]
    assert adata.obsm["captions"][2].nnz == 0


def test_the_zip_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE4COUNTS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"annotations_trainval2017\.zip is missing.*images\.coco"):
        load("coco2017-val", offline=True)
    (tmp_path / "coco2017").mkdir()
    in_json(tmp_path / "coco2017")
    assert load("coco2017-val", offline=True).X.toarray().tolist() == COUNTS


def test_a_table_of_counts(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("id,license,[person]-[person],[hot dog]-[food]\n394940,3,1,0\n15335,2,11,2\n")
    adata = load_coco2017_object_counts("val", path)
    assert adata.X.toarray().tolist() == [[1, 0], [11, 2]]
    with pytest.raises(DataError, match="to leave them out, load the JSON file"):
        load_coco2017_object_counts("val", path, count_crowds=False)


def test_wrong_sources(tmp_path: Path) -> None:
    path = in_zip(tmp_path)
    with pytest.raises(UnknownName, match=r"'valid'\. Did you mean 'val'"):
        load_coco2017_object_counts("valid", path)
    with pytest.raises(DataError, match=r"zip has no annotations/instances_train2017\.json"):
        load_coco2017_object_counts("train", path)
    with pytest.raises(DataError, match="is not of the subset 'train'"):
        load_coco2017_object_counts("train", in_json(tmp_path))
    with pytest.raises(DataError, match=r"There is no file or folder .*instances_val2018\.json"):
        load_coco2017_object_counts("val", tmp_path / "instances_val2018.json")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"Cannot read .*zip as a zip: "):
        load_coco2017_object_counts("val", path)


def test_a_damaged_member_of_the_zip(tmp_path: Path) -> None:
    path = in_zip(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"giraffe", b"girafee", 1))
    with pytest.raises(DataError, match=r"Cannot read .*zip as a zip: Bad CRC"):
        load_coco2017_object_counts("val", path)


@pytest.mark.parametrize("subset", ["train", "val"])
def test_tiny_annotations_with_captions(shared_data: Path, tmp_path: Path, subset: str) -> None:
    name = f"instances_{subset}2017.json.gz"
    (tmp_path / name).symlink_to(shared_data / f"coco_tiny_{name}")
    adata = load_coco2017_object_counts(subset, tmp_path)
    assert adata.shape == (80, 80)
    assert adata.X.sum() == {"train": 705, "val": 815}[subset]
    if subset == "train":
        return
    table = pd.read_csv(shared_data / "coco2017-val-counts.csv", index_col="id")
    rows = table.loc[adata.obs_names.astype(int)].iloc[:, 1:]
    np.testing.assert_array_equal(adata.X.toarray(), rows)
    captions = "captions_val2017.json.gz"
    (tmp_path / captions).symlink_to(shared_data / f"coco_{captions}")
    with pytest.warns(UserWarning, match="4920 of 5000 observations have captions only"):
        joined = load_coco2017_object_counts("val", tmp_path, captions=True)
    assert joined.obs["has_captions"].all()
    raw = json.loads(gzip.decompress((tmp_path / captions).read_bytes()))["annotations"]
    words = joined.uns["captions_features"].tolist()
    for row in (0, 41, 79):
        image = int(joined.obs_names[row])
        text = " ".join(entry["caption"].lower() for entry in raw if entry["image_id"] == image)
        expected = pd.Series(pd.Series(text).str.findall(r"\b\w\w+\b")[0]).value_counts()
        counted = pd.Series(joined.obsm["captions"][row].toarray()[0], words)
        assert counted[counted > 0].to_dict() == expected.to_dict()
