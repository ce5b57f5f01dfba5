"""Places that a command writes a file to, checked before it does any work."""

from __future__ import annotations

import os
from pathlib import Path


def as_place(path: Path) -> Path:
    """Return a path whose ``~`` and ``..`` mean what they mean in a shell."""
    expanded = path.expanduser()
    return expanded.resolve() if ".." in expanded.parts else expanded


def check_place(path: Path) -> None:
    """Make sure that a file can be made, or replaced.

    Raises:
        RunDirectoryError: It is a directory, or there is none to write it to.
    """
    from vae4counts.inference import RunDirectoryError

    if path.is_dir():
        raise RunDirectoryError(f"{path} is a directory: name a file to write")
    if not path.parent.is_dir():
        raise RunDirectoryError(f"{path.parent} is not a directory: make it first")
    if not os.access(path.parent, os.W_OK):
        raise RunDirectoryError(f"{path.parent} may not be written to: name another place")
