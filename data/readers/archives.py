"""Archives: unpacked completely or not at all, and never outside their folder."""

from __future__ import annotations

import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from vae4counts.data.errors import DataError
from vae4counts.data.text import reason_of

MAX_UNPACKED_SIZE = 20 * 2**30  # bytes; more than twice the largest table of our data sets
_CHUNK_SIZE = 2**20  # bytes


# The name of a member, whether it is a plain file, and a function that opens it.
_Member = tuple[str, bool, Callable[[], IO[bytes] | None]]


def unpack(archive: str | Path, folder: str | Path, *, max_size: int = MAX_UNPACKED_SIZE) -> Path:
    """Unpack an archive into a new folder.

    Args:
        archive: A ``.zip`` file, or a ``.tar`` file, compressed or not.
        folder: The folder to create. It appears when it is complete.
        max_size: Largest total size of the unpacked files, in bytes.

    Returns:
        ``folder``.

    Raises:
        DataError: The archive is broken or too large, or one of its members is a link or a
            device, or would be outside ``folder``.
        FileExistsError: ``folder`` exists already.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
        whole = Path(staging) / folder.name
        whole.mkdir()
        with _members(archive) as members:
            left = max_size
            for member in members:
                left -= _extract(archive, member, whole, left)
        whole.replace(folder)
    return folder


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """Open an archive; errors of its library on broken bytes become a `DataError`."""
    try:
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                yield _of_zip(zipped)
        else:
            with tarfile.open(archive) as tarred:
                yield _of_tar(tarred)
    # RuntimeError: an encrypted zip
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LZMAError,
        RuntimeError,
    ) as e:
        reason = reason_of(e).rstrip(":")
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


def _extract(archive: Path, member: _Member, folder: Path, left: int) -> int:
    """Write one member below a folder and return its size; stop if it is too large."""
    name, is_plain, opened = member
    parts = PurePosixPath(name).parts
    # the meaning of a backslash or a drive depends on the system: neither is needed
    if ".." in parts or name.startswith("/") or "\\" in name or PureWindowsPath(name).drive:
        raise DataError(f"{archive} would write outside its folder: {name!r}.")
    if not is_plain or (source := opened()) is None:
        raise DataError(f"{archive} holds {name!r}, which is not a plain file.")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK_SIZE):
            # counted as they arrive: the sizes that an archive declares may be wrong
            size += len(chunk)
            if size > left:
                raise DataError(
                    f"{archive} is larger than is allowed when unpacked; stopped at {name!r}."
                )
            sink.write(chunk)
    return size
