"""Checkpoints: the state of a fit on disk, whole or not at all, and checked before use.

A checkpoint is a directory ``step-N`` of three files. ``state.json`` and ``tensors.safetensors``
hold the state; neither can run code. ``checkpoint.json`` says what they are, the version of the
format, and their SHA-256. The directory is written under another name, flushed to disk, and
renamed; the last two are kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vae4counts.data.warning import warn
from vae4counts.inference.fitting.state import State
from vae4counts.inference.run import storage

log = logging.getLogger(__name__)

KIND = "vae4counts checkpoint"
FORMAT = 2
MANIFEST = "checkpoint.json"
VALUES = "state.json"
TENSORS = "tensors.safetensors"
KEPT = 2
UNFINISHED = ".unfinished-"


class CheckpointError(storage.RunDirectoryError):
    """A checkpoint that cannot be used."""


class CheckpointFiles:
    """The checkpoints of a fit, in a directory of their own.

    Args:
        directory: The directory, made if it does not exist. Unfinished checkpoints of a process
            that was killed are removed.
        every: Optimiser steps, or time, between two checkpoints.

    Raises:
        OSError: The directory cannot be made.
    """

    def __init__(self, directory: Path, every: int | timedelta) -> None:
        self.directory = directory
        self.every = every
        self._last = monotonic()
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due after the optimiser step of this number."""
        if isinstance(self.every, int):
            return step % self.every == 0
        return monotonic() - self._last >= self.every.total_seconds()

    def write(self, step: int, state: State) -> bool:
        """Write a checkpoint and remove all but the last two.

        Returns:
            Whether it could be written. A full disk must not cost the fit as well: training
            continues, and the next checkpoint is tried when it is due.

        Warns:
            UserWarning: It could not be written.
        """
        target = self.directory / f"step-{step:09d}"
        unfinished = self.directory / f"{UNFINISHED}{target.name}"
        try:
            unfinished.mkdir(parents=True)
            _write(unfinished, state)
            if target.exists():  # damaged, or of the last step before training ended
                shutil.rmtree(target)
            unfinished.replace(target)
            storage.flush(self.directory)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            warn(f"no checkpoint could be written to {self.directory}, training continues: {error}")
            return False
        finally:
            self._last = monotonic()
        log.debug("the state is saved in %s", target)
        for old in found(self.directory)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return True


def found(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, whole or not, from the first to the last."""
    names = sorted(directory.iterdir()) if directory.is_dir() else []
    return [path for path in names if re.fullmatch(r"step-\d+", path.name)]


def latest(directory: Path) -> tuple[Path, State] | None:
    """Return the last checkpoint in a directory that is whole; None for an empty directory.

    Raises:
        CheckpointError: No checkpoint is whole; the message says what is wrong with the last.

    Warns:
        UserWarning: The last one is not whole, and the one before it is used.
    """
    errors: list[CheckpointError] = []
    for path in reversed(found(directory)):
        try:
            state = read(path)
        except CheckpointError as error:
            errors.append(error)
        else:
            for damage in errors:
                warn(f"{damage}; the fit continues from {path.name}")
            return path, state
    if errors:
        raise errors[0]
    return None


def read(path: Path) -> State:
    """Read a checkpoint, after checking that it is one, and whole.

    Raises:
        CheckpointError: It is of another version or program, or damaged.
    """
    try:
        manifest = storage.read_json(path / MANIFEST)
        _check(path, manifest)
        with storage.reading(path / TENSORS):
            tensors = load_file(path / TENSORS)
        return State(storage.read_json(path / VALUES), tensors)
    except CheckpointError:
        raise
    except storage.RunDirectoryError as error:
        raise CheckpointError(str(error).replace("no run", "no whole checkpoint")) from error


def _check(path: Path, manifest: dict[str, Any]) -> None:
    kind, number = manifest.get("kind"), manifest.get("format")
    if kind != KIND:
        raise CheckpointError(f"{path / MANIFEST}: kind is {kind!r}, not {KIND!r}")
    if number != FORMAT:
        raise CheckpointError(
            f"{path / MANIFEST}: format is {number!r}, but this version of vae4counts reads "
            f"only {FORMAT}: finish the fit with version {manifest.get('version')}, or begin anew"
        )
    for name in (VALUES, TENSORS):
        with storage.reading(path / MANIFEST):
            expected = manifest["sha256"][name]
        with storage.reading(path / name):
            actual = _sha256(path / name)
        if actual != expected:
            raise CheckpointError(
                f"{path / name} is damaged: its SHA-256 is not the one in {MANIFEST}"
            )


def _write(directory: Path, state: State) -> None:
    (directory / VALUES).write_text(json.dumps(state.values), encoding="utf-8")
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    save_file(tensors, directory / TENSORS)
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "version": version("vae4counts"),
        "sha256": {name: _sha256(directory / name) for name in (VALUES, TENSORS)},
    }
    storage.write_json(directory / MANIFEST, manifest)
    storage.flush_directory(directory)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
