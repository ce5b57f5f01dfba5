"""Run directories: written whole or not at all, and read without executing anything in them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from vae4counts.data.text import reason_of
from vae4counts.data.warning import warn

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"

# Before version 3.1, pandas rounds the last digit of what it reads, unless it is asked not to.
_OLD_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
EVERY_DIGIT: dict[str, Any] = {"float_precision": "round_trip"} if _OLD_PANDAS else {}

# What file systems say that have no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)

# The errors that reading broken files, or building the classes that they name, ends in.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
# Enough for the names of ten million features; reading it takes about twenty times the memory.
MAX_JSON_BYTES = 2**28


class RunDirectoryError(ValueError):
    """A directory that does not hold a run, or holds another one."""


def check_free(directory: Path) -> None:
    """Make sure that a run can be written to a directory.

    Raises:
        RunDirectoryError: The directory exists already and is not empty, or is the current one.
            Nothing is ever overwritten. Or there can be no such directory.
    """
    with _making(directory):
        _check_free(directory)


def _check_free(directory: Path) -> None:
    if directory.resolve() == Path.cwd():
        raise RunDirectoryError(f"{directory} is the current directory: name one to make")
    if os.path.ismount(directory):
        raise RunDirectoryError(
            f"{directory} is where a file system is mounted: name a directory below it"
        )
    if directory.is_file():
        raise RunDirectoryError(f"{directory} is a file: name a directory to make")
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists():
        what = (
            "holds another run"
            if (directory / CONFIG).exists()
            else "exists already and is not empty"
        )
        raise RunDirectoryError(f"{directory} {what}: choose another directory, or remove it")


@contextmanager
def _making(directory: Path) -> Iterator[None]:
    """Turn what the system says of a place into one line that says to choose another one."""
    try:
        yield
    except OSError as error:  # below a file, too long a name, read-only, full ...
        known = (None, str(directory))
        place = "" if error.filename in known else f" at {error.filename}"
        raise RunDirectoryError(
            f"the directory {directory} cannot be made ({error.strerror}{place}): choose another "
            "place for the results"
        ) from error


@contextmanager
def new_directory(directory: Path, staging: Path | None = None) -> Iterator[Path]:
    """Give an empty directory to write to, which is renamed to ``directory`` at the end.

    It is flushed to the disk before. If anything is raised inside, it is removed and nothing is
    left behind.

    Args:
        directory: The directory to make.
        staging: Its name until then, in the same file system; what is there is removed. If None,
            one beside ``directory`` that no other process has.

    Raises:
        RunDirectoryError: ``directory`` exists already and is not empty, or cannot be made.
    """
    directory = directory.resolve()
    check_free(directory)
    if staging is None:
        staging = directory.with_name(f".{directory.name}-{uuid4().hex[:8]}")
    shutil.rmtree(staging, ignore_errors=True)
    with _making(directory):
        staging.mkdir(parents=True)
    try:
        yield staging
        flush_directory(staging)
        staging.replace(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    flush(directory.parent)


def checkpoints_of(out: Path) -> Path:
    """Return where the checkpoints of a fit lie whose results go to ``OUT``: in ``OUT.partial``."""
    return _partial(out) / "checkpoints"


def has_ended(out: Path) -> bool:
    """Whether the training whose results go to ``OUT`` has ended, so that they are there."""
    return (out / CONFIG).exists()


@contextmanager
def resumable(out: Path, *, resume: bool) -> Iterator[Path]:
    """Give a directory for the checkpoints of a fit whose results go to ``OUT``.

    At every moment, even if the process is killed, either the checkpoints or the results exist:
    `publish` removes the former after the latter are whole. Without any checkpoints an error
    leaves nothing behind. ``OUT.partial`` is locked meanwhile.

    Args:
        out: Where `publish` will write the results. With ``resume`` they may exist already: see
            `has_ended`.
        resume: Whether there may be checkpoints or results.

    Yields:
        ``OUT.partial/checkpoints``, made by whoever writes there.

    Raises:
        RunDirectoryError: ``OUT`` exists already and is not empty, or there are checkpoints,
            without ``resume``; or with it, ``OUT`` holds something else than a run; or another
            process fits to ``OUT``; or ``OUT.partial`` cannot be made.
    """
    if not (resume and has_ended(out)):
        check_free(out)
    checkpoints = checkpoints_of(out)
    with _lock(out):
        if checkpoints.is_dir() and any(checkpoints.iterdir()) and not resume:
            raise RunDirectoryError(
                f"{checkpoints.parent} holds an unfinished fit: continue it with --resume, or "
                "remove it"
            )
        try:
            yield checkpoints
        finally:
            with suppress(OSError):  # not empty, or never made
                checkpoints.rmdir()


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Keep other processes from ``OUT.partial``, which is removed at the end if it is empty."""
    path = _partial(out) / "lock"
    lock = FileLock(path)
    with _making(out):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise RunDirectoryError(
                f"another process is fitting to {out}: wait for it, or choose another directory"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warn(f"{path.parent} cannot be locked: fit to {out} only once")
    try:
        yield
    finally:
        # never after the release: it could be the next process's by then (on Windows, where this
        # is refused, the release removes it)
        with suppress(OSError):
            path.unlink()
        lock.release()
        with suppress(OSError):
            path.parent.rmdir()


def publish(write: Callable[[Path], None], out: Path) -> None:
    """Write a trained run to ``OUT``, whole and at once, then remove its checkpoints.

    Args:
        write: Writes the run's files into an empty directory: `Run.write`.
        out: Where they go.

    Raises:
        RunDirectoryError: ``OUT`` exists already and is not empty; the checkpoints are kept.
    """
    with new_directory(out, _partial(out) / "results") as staging:
        write(staging)
    discard_checkpoints(out)


def discard_checkpoints(out: Path) -> None:
    """Remove the checkpoints in ``OUT.partial``, if there are any."""
    shutil.rmtree(checkpoints_of(out), ignore_errors=True)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a path in the same directory to write to, which takes a file's place at the end.

    Readers see the old file or the new one, whole. If anything is raised inside, the old one
    stays. The path has the file's suffix.
    """
    staging = path.with_name(f".partial-{path.name}")
    try:
        yield staging
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _partial(out: Path) -> Path:
    out = out.resolve()
    return out.with_name(f"{out.name}.partial")


def flush_directory(directory: Path) -> None:
    """Flush the files of a directory, and their names, from memory to the disk."""
    for path in (*directory.iterdir(), directory):
        flush(path)


def flush(path: Path) -> None:
    """Flush a file, or the names in a directory, from memory to the disk."""
    if path.is_dir() and os.name != "posix":  # elsewhere a directory cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems flush files, but know nothing of directories
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file for people to read.

    Numbers that are not finite, which JSON does not know, become null; NumPy's become Python's;
    anything else is written as its `str`. A number must not cost the weights beside it.
    """
    known = json.loads(json.dumps(value, default=_known), parse_constant=lambda _: None)
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _known(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run.

    Raises:
        RunDirectoryError: It is missing or broken.
    """
    with reading(path):
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise ValueError(f"it has {size} bytes, more than a description of a run needs")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise TypeError("it does not hold a JSON object")
    return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors that reading a broken file ends in into one line that names it.

    Raises:
        RunDirectoryError: The file is missing, broken, or not what it should be.
    """
    try:
        if not path.is_file() and path.exists():
            raise OSError("it is not a regular file")  # reading a pipe or a device might never end
        yield
    except (FileNotFoundError, NotADirectoryError):
        what = "holds no whole run" if (path.parent / CONFIG).is_file() else "holds no run"
        raise RunDirectoryError(f"{path.parent} {what}: {path.name} is missing") from None
    except _BROKEN as error:
        reason = reason_of(error)
        raise RunDirectoryError(f"{path} is broken: {reason}") from error
