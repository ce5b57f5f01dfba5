"""Standard output and standard error, whatever they can show and however long they are open."""

from __future__ import annotations

import codecs
import io
import os
from contextlib import suppress
from typing import Any

from rich.console import Console

# What is written for characters that an encoding (ASCII, say) does not have.
PLAIN = {"±": "+-", "…": "..."}


def _in_plain(error: UnicodeError) -> tuple[bytes, int]:
    """Write characters that an encoding does not have in those that it has.

    Bytes of a file's name that are no text (surrogates, to Python) are written as they are.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    written = (
        bytes([ord(c) - 0xDC00])
        if "\udc80" <= c <= "\udcff"
        else PLAIN.get(c, ascii(c)[1:-1]).encode("ascii")
        for c in lacking
    )
    return b"".join(written), error.end


codecs.register_error("vae4counts.plain", _in_plain)


def never_fail_to_encode(stream: Any) -> None:
    """Have a stream of text write what its encoding does not have in other characters."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors != "vae4counts.plain":
        stream.reconfigure(errors="vae4counts.plain")


class Stream(Console):
    """A console that shows text as it is, and falls silent where it cannot be written to.

    Names are people's own, so nothing in them is read as markup or the name of an emoji, and
    characters that the encoding does not have are written in others. The stream's reader may have
    gone (``| head``), its terminal been closed, its disk be full: that costs nothing else.

    Args:
        how: As of `rich.console.Console`.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as `rich.console.Console.print` does, if that can be."""
        never_fail_to_encode(self.file)
        try:
            super().print(*objects, **how)
        except OSError:
            self.on_broken_pipe()

    def _write_buffer(self) -> None:
        """Write what has been printed; rich's progress bars come here without `print`."""
        try:
            super()._write_buffer()
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Print nothing more, nor what the interpreter would still write when it ends."""
        self.quiet = True
        with suppress(OSError, ValueError):  # in a test or a notebook it is no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)
