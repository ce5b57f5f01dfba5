"""Files from the network: each downloaded once, complete and checked, or not at all."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pooch

from vae4counts.data.errors import DataError
from vae4counts.data.text import reason_of

if TYPE_CHECKING:
    from requests import Response

log = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "VAE4COUNTS_DATA"
OFFLINE_VARIABLE = "VAE4COUNTS_OFFLINE"

_CHUNK_SIZE = 2**16  # bytes
_MEGABYTE = 1e6  # bytes
_TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes:
        name: Name on disk.
        url: Where it is downloaded from.
        size: Size in bytes if known, to be shown before a download.
        sha256: Hex digest if known.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None


def data_directory(name: str = "", chosen: str | Path | None = None) -> Path:
    """Return the folder of a data set (or of all): below ``$VAE4COUNTS_DATA`` or a cache.

    Args:
        name: The data set's folder.
        chosen: A folder of the user's choice, which takes precedence.
    """
    if chosen is not None:
        return Path(chosen).expanduser()
    root = os.environ.get(DIRECTORY_VARIABLE) or pooch.os_cache("vae4counts")
    return Path(root).expanduser() / name


def fetch(file: RemoteFile, directory: str | Path, *, offline: bool | None = None) -> Path:
    """Return the path of a file, after downloading it if necessary.

    An interrupted download is resumed where it stopped, if the server supports ranges and its file
    has not changed. The file is moved into place when it is complete and its SHA-256 is right. An
    unknown digest is recorded in ``NAME.sha256`` (as ``sha256sum -c`` reads it) and is checked
    from then on.

    Args:
        file: The file.
        directory: Where the file is, or is downloaded to.
        offline: Whether to avoid the network; by default if ``$VAE4COUNTS_OFFLINE`` is set.

    Raises:
        DataError: The file is missing and cannot be downloaded, or has another digest.
    """
    directory = Path(directory).expanduser()
    path = directory / file.name
    record = directory / f"{file.name}.sha256"
    known = file.sha256 or _recorded(record)
    if path.exists() and known is None:  # put there by hand
        return path
    by_hand = f"Get it from {file.url} and save it as {path}"
    if os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0") if offline is None else offline:
        if not path.exists():
            raise DataError(f"{file.name} is missing, and downloads are off. {by_hand}")
        if known and pooch.file_hash(str(path)) != known:
            raise DataError(f"{path} does not have the expected SHA-256 {known}. {by_hand}")
    else:
        _retrieve(file, path, known, by_hand)
    if known is None:
        record.write_text(f"{pooch.file_hash(str(path))}  {file.name}\n", encoding="utf-8")
    return path


def _recorded(record: Path) -> str | None:
    words = record.read_text(encoding="utf-8").split() if record.exists() else []
    return words[0] if words else None


def _retrieve(file: RemoteFile, path: Path, known: str | None, by_hand: str) -> None:
    from urllib3.exceptions import HTTPError  # slow to import, and needed here only

    def download(url: str, output_file: str, _: object) -> None:
        partial = path.with_name(f".{path.name}.part")
        _receive(url, partial)
        partial.replace(output_file)  # pooch checks it and moves it into place
        _validator(partial).unlink(missing_ok=True)

    pooch.get_logger().setLevel("WARNING")  # the progress bar shows the same
    try:
        pooch.retrieve(
            file.url, known_hash=known, fname=path.name, path=path.parent, downloader=download
        )
    except ValueError as error:  # pooch's error for a wrong digest
        source = "" if file.sha256 else f" that was recorded in {path}.sha256"
        raise DataError(
            f"The file at {file.url} does not have the expected SHA-256 {known}{source}; "
            "the download was deleted."
        ) from error
    except (OSError, HTTPError) as error:
        reason = reason_of(error)
        raise DataError(
            f"Cannot download {file.name}: {reason}. Try again (what has been received is kept). "
            f"{by_hand}"
        ) from error


def _validator(partial: Path) -> Path:
    """Return the file that says which version of the server's file a partial download is of."""
    return partial.with_suffix(".version")


def _receive(url: str, partial: Path) -> None:
    """Download to a file, after what an earlier try has left in it."""
    import requests  # slow to import, and needed here only

    log.info("downloading %s", url)
    version = _validator(partial)
    # uncompressed: a server's own compression would make positions meaningless
    headers = {"Accept-Encoding": "identity"}
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    start = partial.stat().st_size if partial.exists() and known else 0
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": known}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        resumed = response.status_code == requests.codes.partial_content
        if start and (
            response.status_code == requests.codes.requested_range_not_satisfiable
            or (resumed and (_first_byte(response), _mark(response)) != (start, known))
        ):
            partial.unlink()
            return _receive(url, partial)
        response.raise_for_status()
        length = response.headers.get("Content-Length")
        total = int(length) + start * resumed if length else None
        if not resumed:
            partial.unlink(missing_ok=True)
            version.write_text(_mark(response), encoding="utf-8")
        _write(response, partial, total)
    if total is not None and partial.stat().st_size != total:
        raise OSError(f"received {partial.stat().st_size} of {total} bytes")
    return None


def _first_byte(response: Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _mark(response: Response) -> str:
    """Return what identifies a version for ``If-Range``; without it, downloads start again."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag


def _write(response: Response, partial: Path, total: int | None) -> None:
    # slow to import, and needed here only
    from vae4counts.data.progress.task import Task
    from vae4counts.data.progress.work import shown

    name = partial.name.removeprefix(".").removesuffix(".part")
    with partial.open("ab") as target:
        size = None if total is None else total / _MEGABYTE
        task = Task(name, "MB", size, target.tell() / _MEGABYTE, is_long=True)
        with shown(task) as view:
            for chunk in response.raw.stream(_CHUNK_SIZE, decode_content=False):
                target.write(chunk)
                task.done += len(chunk) / _MEGABYTE
                task.note = "" if task.speed is None else f"{task.speed:.1f} MB a second"
                view.show()
