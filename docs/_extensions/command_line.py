"""The page of all commands and options, written by Typer from the application."""

from __future__ import annotations

import subprocess
import sys

from sphinx.application import Sphinx

PAGE = "generated/commands.md"


def write_page(app: Sphinx) -> None:
    """Write the page before Sphinx looks for pages."""
    page = app.confdir / PAGE
    page.parent.mkdir(exist_ok=True)
    typer = [sys.executable, "-m", "typer", "vae4counts.inference.cli", "utils", "docs"]
    options = ["--name", "vae4counts", "--title", "Commands and options", "--output", str(page)]
    subprocess.run([*typer, *options], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the page written."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
