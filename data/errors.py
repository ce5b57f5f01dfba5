"""Errors for bad data and unknown names, each of one plain line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from zipfile import BadZipFile

from vae4counts.data.text import reason_of


class DataError(ValueError):
    """Data that cannot be used: values that are not counts, nothing at all, a broken file."""


class UnknownName(KeyError):  # noqa: N818 (reads as a sentence)
    """A name (of a column, a layer, a data set) that does not exist; lists those that do.

    Args:
        kind: What is named, in words: ``"layer"``.
        name: The unknown name.
        known: The names that exist.
        advice: What to do, in a sentence.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], advice: str = "") -> None:
        super().__init__(kind, name, tuple(map(str, known)), advice)

    def __str__(self) -> str:
        # KeyError prints the repr of its argument; people should read a sentence
        kind, name, known, advice = self.args
        close = get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listed = ", ".join(map(repr, sorted(known))) or "none"
        return f"There is no {kind} {name!r}.{hint} Known: {listed}. {advice}".rstrip()


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Turn what a parser raises on a broken file into one `DataError` that names the file.

    Args:
        path: The file that is read.
        form: What it should be, in words: ``"an .h5ad file"``.
    """
    try:
        yield
    except (DataError, MemoryError, BadZipFile):  # which have errors of their own
        raise
    except Exception as e:  # parsers raise nearly anything on broken bytes
        raise DataError(f"Cannot read {path} as {form}: {reason_of(e)}") from e
