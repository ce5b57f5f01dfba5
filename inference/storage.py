"""Run directories: written whole or not at all, read without running anything they say."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"


class RunDirectoryError(ValueError):
    """A directory that holds no run, or holds another one."""


def check_free(directory: Path) -> None:
    """Makes sure that a run can be written to a directory.

    Raises:
        RunDirectoryError: Something is there already. Nothing is ever overwritten.
    """
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
    check_free(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        staging.replace(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file for people to read; a number that is not finite is an error."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run.

    Raises:
        RunDirectoryError: It is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"{path.parent} holds no run: {path.name} is missing") from None
    except ValueError as error:
        raise RunDirectoryError(f"{path} is not valid JSON: {error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
