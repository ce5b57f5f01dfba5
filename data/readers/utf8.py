"""Text in UTF-8, with errors that name the file and the line of bytes that are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.compression import open_bytes


def is_number(text: str | bytes) -> bool:
    """Whether text is a number, as Python reads it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def decode(text: bytes, path: Path, line: int) -> str:
    """Decode one line of a file.

    Raises:
        DataError: The line is not UTF-8.
    """
    try:
        return text.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {line}: byte {text[error.start]:#04x} at position {error.start} is not "
            "UTF-8: convert the file."
        ) from error


@contextmanager
def reading_text(path: Path, form: str) -> Iterator[None]:
    """Like `reading`, but find the line of bytes that are not UTF-8.

    Args:
        path: The file that is read, ``.gz`` or not.
        form: See `reading`.
    """
    with reading(path, form):
        try:
            yield
        except UnicodeDecodeError as error:
            with open_bytes(path) as file:
                line = next(i for i, text in enumerate(file, 1) if not _is_utf8(text))
            raise DataError(
                f"Cannot read {path} as {form}: line {line} is not UTF-8 ({error.reason}); "
                "save the file as UTF-8."
            ) from error


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
