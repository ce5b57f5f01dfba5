"""Archives: unpacked whole or not at all, and never outside their folder."""

from __future__ import annotations

import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from vae4counts.data.errors import DataError

LARGEST = 20 * 2**30  # bytes; the tables that are known here are below half of it
_CHUNK = 2**20


# The name of a member, whether it is a plain file, and what opens it.
_Member = tuple[str, bool, Callable[[], IO[bytes] | None]]


def unpack(archive: str | Path, folder: str | Path, *, largest: int = LARGEST) -> Path:
    """Unpacks an archive into a new folder.

    Args:
        archive: A ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` file.
        folder: The folder to make. It appears when all is in it.
        largest: The most bytes that all files may have together, unpacked.

    Returns:
        ``folder``.

    Raises:
        DataError: If the archive is broken or too large, or one of its members is a link, a
            device, or would lie outside ``folder``.
        FileExistsError: If there is something at ``folder``.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
        whole = Path(staging) / folder.name
        whole.mkdir()
        with _members(archive) as members:
            left = largest
            for member in members:
                left -= _place(archive, member, whole, left)
        whole.replace(folder)
    return folder


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """Opens an archive; what its library raises on broken bytes becomes a `DataError`."""
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                yield _of_zip(zipped)
        else:
            with tarfile.open(archive) as tarred:
                yield _of_tar(tarred)
    # RuntimeError: an encrypted zip.
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip(":")
        raise DataError(f"Cannot unpack {archive}: {reason}") from e


def _of_zip(zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        if not info.is_dir():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            yield info.filename, not is_link, partial(zipped.open, info)


def _of_tar(tarred: tarfile.TarFile) -> Iterator[_Member]:
    for info in tarred:
        if not info.isdir():
            yield info.name, info.isreg(), partial(tarred.extractfile, info)


def _place(archive: Path, member: _Member, folder: Path, left: int) -> int:
    """Writes one member below a folder and returns its size; stops where it is too large."""
    name, is_plain, opened = member
    parts = PurePosixPath(name).parts
    # What a backslash or a drive means depends on the system: neither is needed.
    if ".." in parts or name.startswith("/") or "\\" in name or PureWindowsPath(name).drive:
        raise DataError(f"{archive} would write outside its folder: {name!r}.")
    if not is_plain or (source := opened()) is None:
        raise DataError(f"{archive} holds {name!r}, which is no plain file.")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            # Counted as they come: what an archive says of its sizes may be untrue.
            size += len(chunk)
            if size > left:
                raise DataError(
                    f"{archive} is larger than is allowed, unpacked; stopped at {name!r}."
                )
            sink.write(chunk)
    return size
