"""Untrusted files run no code, reveal nothing of other files, and end in one line of error."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from vae4counts.data import DataError, load
from vae4counts.data.readers import archives, compression, json_lists

COUNTS = sp.csr_matrix(np.arange(12, dtype=np.float32).reshape(3, 4))
# too large for any machine's memory, but not for 64 bits
ENDLESS = 10**14


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.directory),)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The directory that a trap makes."""
    return tmp_path / "sprung"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that an untrusted file must not reveal."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["X"] = np.full((3, 4), 77, dtype=np.float32)
    return path


def refused(path: Path, message: str = ".", **options: Any) -> str:
    with pytest.raises(DataError, match=message) as caught:
        load(path, **options)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    return text


def pickled(path: Path, trap: Trap) -> None:
    path.write_bytes(pickle.dumps(trap))


def objects(path: Path, trap: Trap) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([trap, trap], dtype=object), allow_pickle=True)


def object_archive(path: Path, trap: Trap) -> None:
    with path.open("wb") as file:
        np.savez(file, X=np.array([trap], dtype=object), allow_pickle=True)


FORMS = (
    ".h5ad", ".h5", ".mtx", ".mtx.gz", ".csv", ".csv.gz", ".tsv", ".json", ".json.gz",
    ".tar.gz", ".zip", ".npy", ".npz", ".pkl", ".zarr",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", [pickled, objects, object_archive])
def test_a_pickle_under_any_name(
    write: Callable[[Path, Trap], None], form: str, tmp_path: Path, sprung: Path
) -> None:
    path = tmp_path / f"data{form}"
    write(path, Trap(sprung))
    refused(path)
    assert not sprung.exists()


def a_store(path: Path) -> Path:
    anndata.AnnData(COUNTS).write_h5ad(path)
    return path


def marked(array: Any) -> None:
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def an_external_link(file: h5py.File, secret: Path) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink(str(secret), "X")


def an_external_link_to_itself_by_another_name(file: h5py.File, secret: Path) -> None:
    file["layers/raw"] = h5py.ExternalLink(os.path.relpath(secret), "/")


def external_storage(file: h5py.File, secret: Path) -> None:
    outside = [(str(secret), 0, 12)]
    marked(file["obsm"].create_dataset("leak", shape=(3, 4), dtype="u1", external=outside))


def a_virtual_array(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((3, 4), dtype="f4")
    layout[:] = h5py.VirtualSource(str(secret), "X", shape=(3, 4))
    marked(file["obsm"].create_virtual_dataset("leak", layout))


OUTSIDE = [
    an_external_link,
    an_external_link_to_itself_by_another_name,
    external_storage,
    a_virtual_array,
]


@pytest.mark.parametrize("out_of_core", [False, True])
@pytest.mark.parametrize("point", OUTSIDE)
def test_hdf5_that_points_outside(
    point: Callable[[h5py.File, Path], None], out_of_core: bool, tmp_path: Path, secret: Path
) -> None:
    path = a_store(tmp_path / "data.h5ad")
    with h5py.File(path, "a") as file:
        point(file, secret)
    text = refused(path, "another file", out_of_core=out_of_core)
    assert "secret.h5" in text


@pytest.mark.parametrize("point", OUTSIDE)
def test_10x_hdf5_that_points_outside(
    point: Callable[[h5py.File, Path], None], tmp_path: Path, secret: Path
) -> None:
    path = a_store(tmp_path / "data.h5")
    with h5py.File(path, "a") as file:
        point(file, secret)
    refused(path, "another file")


def test_links_within_an_hdf5_file_are_followed(tmp_path: Path) -> None:
    path = a_store(tmp_path / "data.h5ad")
    with h5py.File(path, "a") as file:
        file["layers/soft"] = h5py.SoftLink("/X")
        file["layers/hard"] = file["X"]
    layers = load(path).layers
    assert all((layers[name] != COUNTS).nnz == 0 for name in ("soft", "hard"))


@pytest.mark.parametrize("link", ["soft", "hard"])
def test_an_hdf5_group_that_holds_itself(link: str, tmp_path: Path) -> None:
    path = a_store(tmp_path / "data.h5ad")
    with h5py.File(path, "a") as file:
        file["uns/again"] = h5py.SoftLink("/uns") if link == "soft" else file["uns"]
    refused(path, "Cannot read")


@pytest.mark.parametrize("target", ["../../secret.h5", "/secret.h5", "/nothing"])
def test_a_soft_link_cannot_leave_its_file(target: str, tmp_path: Path, secret: Path) -> None:
    path = a_store(tmp_path / "data.h5ad")
    with h5py.File(path, "a") as file:
        file["layers/raw"] = h5py.SoftLink(target)
    refused(path, "Cannot read")


def test_an_hdf5_array_that_claims_to_be_endless(tmp_path: Path) -> None:
    path = a_store(tmp_path / "data.h5ad")
    with h5py.File(path, "a") as file:
        shape = {"shape": (3, ENDLESS), "chunks": (1, 1000)}
        marked(file["obsm"].create_dataset("more", dtype="f8", **shape))
    with pytest.raises(DataError, match="does not fit into memory") as caught:
        load(path)
    # while the error is kept, h5py's lock is free for other threads
    reading = Thread(target=h5py.is_hdf5, args=[path], daemon=True)
    reading.start()
    reading.join(timeout=10)
    assert not reading.is_alive()
    assert path.name in str(caught.value)


def a_folder(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format of zarr that is written by default
        anndata.AnnData(COUNTS).write_zarr(path)
    (path / ".zmetadata").unlink(missing_ok=True)
    return path


CODED = {
    "filter": {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None},
    "compressor": {"filters": None, "compressor": {"id": "pickle", "protocol": 5}},
}


@pytest.mark.parametrize("out_of_core", [False, True])
@pytest.mark.parametrize("where", CODED)
@pytest.mark.parametrize("dtype", ["|O", "<f4"])
def test_zarr_whose_decoder_runs_code(
    where: str, dtype: str, out_of_core: bool, tmp_path: Path, sprung: Path
) -> None:
    folder = a_folder(tmp_path / "data.zarr")
    array = folder / "obsm" / "leak"
    array.mkdir(parents=True)
    about = {"zarr_format": 2, "shape": [3, 1], "chunks": [3, 1], "dtype": dtype, "order": "C"}
    (array / ".zarray").write_text(json.dumps(about | {"fill_value": None} | CODED[where]))
    kind = {"encoding-type": "array", "encoding-version": "0.2.0"}
    (array / ".zattrs").write_text(json.dumps(kind))
    (array / "0.0").write_bytes(pickle.dumps(Trap(sprung)))
    refused(folder, "decoder 'pickle'", out_of_core=out_of_core)
    assert not sprung.exists()


def test_zarr_whose_summary_names_another_decoder(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data.zarr")
    about = {"metadata": {"X/data/.zarray": {"filters": [{"id": "pickle"}]}}}
    (folder / ".zmetadata").write_text(json.dumps(about))
    refused(folder, "decoder 'pickle'")


@pytest.mark.parametrize("place", ["X/data/0", "obsm/leak", "more"])
def test_zarr_with_a_link(place: str, tmp_path: Path, secret: Path) -> None:
    folder = a_folder(tmp_path / "data.zarr")
    (folder / place).unlink(missing_ok=True)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(secret)
    refused(folder, "a link or a device")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_zarr_with_a_pipe(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data.zarr")
    os.mkfifo(folder / "pipe")  # reading it would block for ever
    refused(folder, "a link or a device")


@pytest.mark.parametrize("version", [2, 3])
def test_what_anndata_writes_is_read(version: int, tmp_path: Path) -> None:
    adata = anndata.AnnData(COUNTS, obs={"kind": ["a", "b", "c"]}, obsm={"X_pca": np.ones((3, 2))})
    adata.obs["kind"] = adata.obs["kind"].astype("category")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the next version will do
        if not hasattr(anndata.settings, "zarr_write_format"):
            pytest.skip("an anndata that writes one version")
        with anndata.settings.override(zarr_write_format=version):
            adata.write_zarr(tmp_path / "data.zarr")
    assert (load(tmp_path / "data.zarr").X != COUNTS).nnz == 0


HEADER = "%%MatrixMarket matrix {} integer general\n"


@pytest.mark.parametrize(
    "text",
    [
        HEADER.format("coordinate") + f"{ENDLESS} {ENDLESS} 1\n1 1 1\n",
        HEADER.format("coordinate") + f"3 4 {ENDLESS}\n1 1 1\n",
        HEADER.format("array") + f"{ENDLESS} 100\n1\n",
    ],
)
def test_a_matrix_that_claims_to_be_endless(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.mtx").write_text(text)
    refused(tmp_path / "data.mtx", "does not fit into memory|Cannot read")


@pytest.mark.parametrize("form", [".csv.gz", ".tsv.gz", ".json.gz", ".mtx.gz"])
def test_a_file_that_grows_without_end(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "MAX_UNPACKED_SIZE", 10**6)
    path = tmp_path / f"data{form}"
    headers = {".json.gz": b'{"a": "', ".mtx.gz": b"%%MatrixMarket matrix array real general\n%"}
    header = headers.get(form, b"a,b\n")
    path.write_bytes(gzip.compress(header + b"1,1\n" * 10**6))
    assert path.stat().st_size < 10**5
    refused(path, "larger than is allowed")


def test_an_archive_of_one_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.unpack, "__kwdefaults__", {"max_size": 10**6})
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("matrix.mtx", b"0" * 10**7)
    assert (tmp_path / "data.zip").stat().st_size < 10**5
    refused(tmp_path / "data.zip", "larger than is allowed")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_an_archive_with_more_than_files(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("matrix.mtx")
        info.type, info.linkname = kind, "/etc/hostname"
        archive.addfile(info)
    refused(path, "not a plain file")


@pytest.mark.parametrize("name", ["../../matrix.mtx", "/matrix.mtx"])
@pytest.mark.parametrize("form", [".tar.gz", ".zip"])
def test_an_archive_that_writes_elsewhere(name: str, form: str, tmp_path: Path) -> None:
    path, source = tmp_path / f"data{form}", tmp_path / "source"
    source.write_text("counts")
    if form == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.write(source, name)
            zipped.filelist[0].filename = name  # `write` removes the leading slash
    else:
        with tarfile.open(path, "w:gz") as tarred:
            info = tarfile.TarInfo(name)
            tarred.addfile(info)
    refused(path, "outside its folder")


def coco(**parts: Any) -> str:
    images = [{"id": 1}]
    categories = [{"id": 1, "name": "cat"}]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1}]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    return json.dumps(whole | parts)


MANY = 10**5
BOMBS = {
    "deep": '{"images":' + "[" * MANY + "]" * MANY + "}",
    "deep objects": '{"info":' + '{"a":' * MANY + "1" + "}" * MANY + "}",
    "a long number": coco().replace('{"id": 1}', '{"id": ' + "1" * MANY + "}"),
    "a large number": coco().replace('{"id": 1}', '{"id": ' + "1" * 400 + "}"),
    "an infinite number": coco().replace('{"id": 1}', '{"id": 1e999}'),
    "a list for an id": coco(images=[{"id": [1]}]),
    "an object for an id": coco(annotations=[{"id": 1, "image_id": {}, "category_id": 1}]),
    "a list of nothing": coco(images=[None]),
    "no object": "[" * 10,
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
def test_json_that_is_made_to_hurt(text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    refused(path)


def test_json_of_one_value_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lists, "_MAX_VALUE_LENGTH", 2**21)
    path = tmp_path / "data.json"
    path.write_text('{"info": "' + "a" * 2**24)
    assert "2097152 characters" in refused(path, "a value of up to")
