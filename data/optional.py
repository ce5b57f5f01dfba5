"""Packages that only some uses need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vae4counts.data.errors import DataError


@contextmanager
def optional_package(name: str, use: str, instead: str) -> Iterator[None]:
    """Turn the absence of a package into one line that says what to install.

    Args:
        name: The package, as pip calls it.
        use: What needs it, in words: ``"Reading a.loom"``.
        instead: What to do without it, in words.

    Raises:
        DataError: Something imported inside the ``with`` block is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise DataError(
            f"{use} needs the package {name}: pip install {name}, or {instead}."
        ) from error
