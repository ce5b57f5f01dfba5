from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vae4counts.data import DataError
from vae4counts.data.readers.archives import unpack

FILES = {"hg19/matrix.mtx": b"counts\n" * 1000, "hg19/genes.tsv": b"", "readme": b"x"}


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("hg19")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("hg19") if hasattr(archive, "mkdir") else None
        for name, content in files.items():
            archive.writestr(name, content)
    return path


PACKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {"a.tar.gz": tarred, "a.zip": zipped}


@pytest.fixture(params=PACKERS)
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    return lambda files: PACKERS[request.param](tmp_path / request.param, files)


def assert_refused(archive: Path, message: str, **limits: int) -> None:
    folder = archive.parent / "below" / "unpacked"
    before = archive.read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        unpack(archive, folder, **limits)
    assert str(archive) in str(caught.value)
    assert list(folder.parent.iterdir()) == []
    assert sorted(path.name for path in archive.parent.iterdir()) == sorted([archive.name, "below"])
    assert archive.read_bytes() == before


def test_an_archive_is_unpacked_completely(tmp_path: Path, pack: Callable[..., Path]) -> None:
    folder = unpack(pack(FILES), tmp_path / "below" / "unpacked")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    assert {name: path.read_bytes() for name, path in found.items() if path.is_file()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["unpacked"]
    with pytest.raises(FileExistsError, match="unpacked exists already"):
        unpack(pack(FILES), folder)


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "C:/out", "..\\out", "hg19/../../out"]
)
def test_nothing_outside_the_folder(pack: Callable[..., Path], name: str) -> None:
    assert_refused(pack({**FILES, name: b"bad"}), "outside its folder")


def test_nothing_too_large(pack: Callable[..., Path]) -> None:
    assert_refused(pack(FILES), "larger than is allowed", max_size=7000)


def test_a_truncated_archive(pack: Callable[..., Path]) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    archive = pack({**FILES, "noise": noise})
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert_refused(archive, "Cannot unpack")


def test_a_file_that_is_not_an_archive(pack: Callable[..., Path]) -> None:
    archive = pack(FILES)
    archive.write_text("<html>sign in</html>")
    assert_refused(archive, "Cannot unpack")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_no_links_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert_refused(tmp_path / "a.tar", "'link', which is not a plain file")


def test_no_links_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert_refused(tmp_path / "a.zip", "'link', which is not a plain file")


def test_a_damaged_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("member", b"a" * 100)
    damaged = (tmp_path / "a.zip").read_bytes().replace(b"aaaa", b"aaba", 1)
    (tmp_path / "a.zip").write_bytes(damaged)
    assert_refused(tmp_path / "a.zip", "Cannot unpack .*CRC")
