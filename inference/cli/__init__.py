"""The command line: one command a file."""

from __future__ import annotations

from . import compare, datasets, evaluate, fit, report
from .shared import app

__all__ = ["app", "compare", "datasets", "evaluate", "fit", "main", "report"]


def main() -> None:
    """Runs the command line; the entry point of the package."""
    app()
