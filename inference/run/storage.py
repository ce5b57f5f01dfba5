"""Run directories: written whole or not at all, read without running anything they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"

# What the readers of these files, and the classes that they name, end in where they are broken.
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
# Bytes of a JSON file: names of ten million features. It takes some twenty times as much memory.
LARGEST = 2**28


class RunDirectoryError(ValueError):
    """A directory that holds no run, or holds another one."""


def check_free(directory: Path) -> None:
    """Makes sure that a run can be written to a directory.

    Raises:
        RunDirectoryError: Something is there already. Nothing is ever overwritten.
    """
    if directory.resolve() == Path.cwd():
        raise RunDirectoryError(f"{directory} is where you are: name a directory to make")
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists():
        what = "holds another run" if (directory / CONFIG).exists() else "is there and not empty"
        raise RunDirectoryError(f"{directory} {what}: choose another directory, or remove it")


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Gives an empty directory to write to, which takes its place at the end.

    If anything is raised inside, it is removed, and nothing is left behind.

    Raises:
        RunDirectoryError: ``directory`` is there already, and not empty.
    """
    directory = directory.resolve()
    check_free(directory)
    staging = directory.with_name(f".{directory.name}-{uuid4().hex[:8]}")
    staging.mkdir(parents=True)
    try:
        yield staging
        staging.replace(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def checkpoints_of(directory: Path) -> Path:
    """Where the checkpoints of a fit lie whose results go to a directory."""
    return directory.with_name(f"{directory.name}.partial") / "checkpoints"


@contextmanager
def resumable_directory(directory: Path, *, resume: bool) -> Iterator[tuple[Path, Path]]:
    """Gives a directory for checkpoints, and an empty one which takes its place at the end.

    Until then both lie in ``DIRECTORY.partial``. Whatever is raised, and even if the process is
    killed, checkpoints stay there to go on from; without any, nothing is left behind by an error.

    Args:
        directory: Where the results go.
        resume: Whether there may be checkpoints.

    Raises:
        RunDirectoryError: ``directory`` is there already and not empty, or there are checkpoints
            and they are not asked for.
    """
    directory = directory.resolve()
    checkpoints = checkpoints_of(directory)
    partial, results = checkpoints.parent, checkpoints.with_name("results")
    finished = directory.with_name(f"{directory.name}.finished")
    if (finished / results.name).exists():  # the process was killed before they were moved
        finished.replace(partial)
    shutil.rmtree(finished, ignore_errors=True)  # and here, before this was done
    check_free(directory)
    if checkpoints.is_dir() and any(checkpoints.iterdir()) and not resume:
        raise RunDirectoryError(
            f"{partial} holds an unfinished fit: go on with it by --resume, or remove it"
        )
    shutil.rmtree(results, ignore_errors=True)  # of a process that was killed
    results.mkdir(parents=True)
    try:
        yield checkpoints, results
        partial.replace(finished)
        (finished / results.name).replace(directory)
        shutil.rmtree(finished, ignore_errors=True)
    finally:
        shutil.rmtree(results, ignore_errors=True)
        with suppress(OSError):  # not empty, or not there
            checkpoints.rmdir()
        with suppress(OSError):
            partial.rmdir()


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file for people to read; a number that is not finite is an error."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file of a run.

    Raises:
        RunDirectoryError: It is missing or broken.
    """
    with reading(path):
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"it has {size} bytes, more than a description of a run needs")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise TypeError("it holds no JSON object")
    return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a broken file of a run ends in into one line that names it.

    Raises:
        RunDirectoryError: The file is missing, broken, or not what it should be.
    """
    try:
        if not path.is_file() and path.exists():
            raise OSError("it is no plain file")  # reading a pipe or a device might never end
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise RunDirectoryError(f"{path.parent} holds no run: {path.name} is missing") from None
    except _BROKEN as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunDirectoryError(f"{path} is broken: {reason}") from error
