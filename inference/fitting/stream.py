"""Standard output and standard error, which may close while there is still work to do."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from rich.console import Console


class Stream(Console):
    """A console that falls silent where it cannot be written to, and costs nothing else.

    Its reader may have gone (``| head``), its terminal been closed, its disk be full.
    """

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as `rich.console.Console.print` does, if that can be."""
        try:
            super().print(*objects, **how)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Print nothing more, nor what the interpreter would still write when it ends."""
        self.quiet = True
        with suppress(OSError, ValueError):  # in a test or a notebook it is no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)
