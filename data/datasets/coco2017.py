"""COCO 2017: the objects in its images, and the words that people describe them with."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anndata import AnnData

from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.datasets.joining import add_modality
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.readers.coco import count_objects, count_words
from vae4counts.data.readers.coco_table import read_coco_table
from vae4counts.data.readers.compression import open_bytes

FOLDER = "coco2017"
SUBSETS = ("train", "val")
ANNOTATIONS = RemoteFile(
    name="annotations_trainval2017.zip",
    url="http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    size=252_907_541,
    # as pinned by several projects that are independent of each other
    sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)


def load_coco2017_object_counts(
    subset: str,
    source: str | Path | None = None,
    *,
    captions: bool = False,
    count_crowds: bool = True,
    offline: bool | None = None,
) -> AnnData:
    """Count the objects of 80 categories in COCO's 118,287 training or 5,000 validation images.

    Args:
        subset: ``"train"`` or ``"val"``.
        source: The official ``annotations_trainval2017.zip`` (read without unpacking), an
            ``instances_{subset}2017.json`` (``.gz`` or not), a table of such counts (``.csv``,
            see `read_coco_table`), or a folder that has the zip or the JSON, or that the zip is
            downloaded to. By default the zip in a folder of the cache, downloaded if necessary.
        captions: Whether to count the words of the captions too; they are in the same zip, or in
            ``captions_{subset}2017.json`` beside the other file.
        count_crowds: Whether an annotation of a crowd counts as one object; otherwise it is left
            out.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Images x categories, see `count_objects` and `read_coco_table`. With captions,
        ``obsm["captions"]`` (images x words, CSR), ``uns["captions_features"]`` (the words) and
        ``obs["has_captions"]``, joined by image id; see `add_modality`.

    Raises:
        DataError: A file is missing or broken, or belongs to the other subset.
        UnknownName: There is no such subset.
    """
    path = _locate("instances", subset, source, offline)
    if path.name.endswith((".csv", ".csv.gz")):
        if not count_crowds:
            raise DataError(
                f"{path} is a table that counts crowds: to leave them out, load the JSON file."
            )
        adata = read_coco_table(path)
    else:
        with _opened(path, "instances", subset) as (file, name):
            adata = count_objects(file, name, count_crowds)
    if captions:
        beside = path if path.suffix == ".zip" else path.parent
        add_modality(adata, "captions", load_coco2017_captions(subset, beside, offline=offline))
    return adata


def load_coco2017_captions(
    subset: str, source: str | Path | None = None, *, offline: bool | None = None
) -> AnnData:
    """Count the words of the five or so captions of each of COCO's images.

    Args:
        subset: ``"train"`` or ``"val"``.
        source: The official zip, a ``captions_{subset}2017.json`` (``.gz`` or not), or a folder;
            see `load_coco2017_object_counts`.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Images x words; see `count_words`.

    Raises:
        DataError: A file is missing or broken, or belongs to the other subset.
        UnknownName: There is no such subset.
    """
    path = _locate("captions", subset, source, offline)
    with _opened(path, "captions", subset) as (file, name):
        return count_words(file, name)


def _locate(kind: str, subset: str, source: str | Path | None, offline: bool | None) -> Path:
    """Find the file with one kind of annotations of a subset, or fetch it."""
    if subset not in SUBSETS:
        raise UnknownName("subset of COCO 2017", subset, SUBSETS)
    if source is not None and not Path(source).expanduser().exists():
        raise DataError(f"There is no file or folder {source}.")
    folder = data_directory(FOLDER, source)
    if folder.is_file():
        if any(f"_{other}2017" in folder.name for other in SUBSETS if other != subset):
            raise DataError(f"{folder} is not of the subset {subset!r}.")
        return folder
    name = f"{kind}_{subset}2017.json"
    for found in (name, f"{name}.gz", f"annotations/{name}", f"annotations/{name}.gz"):
        if (folder / found).exists():
            return folder / found
    return fetch(ANNOTATIONS, folder, offline=offline)


@contextmanager
def _opened(path: Path, kind: str, subset: str) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a JSON file, alone or in the zip, and say what errors should call it."""
    if path.suffix != ".zip":
        with open_bytes(path) as file:
            yield file, path
        return
    member = f"annotations/{kind}_{subset}2017.json"
    try:
        with zipfile.ZipFile(path) as zipped:
            if member not in zipped.namelist():
                raise DataError(f"{path} has no {member}.")
            with zipped.open(member) as file:
                yield file, path / member
    except zipfile.BadZipFile as error:
        raise DataError(f"Cannot read {path} as a zip: {error}") from error
