"""The command line: one command a file.

What a command needs is imported inside of it, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys

from vae4counts.data.progress.stream import never_fail_to_encode
from vae4counts.inference.parallel.cpus import use_fewer_threads

from . import adapt, annotate, compare, datasets, evaluate, figures, fit, predict, report
from .application import app

__all__ = [
    "adapt",
    "annotate",
    "app",
    "compare",
    "datasets",
    "evaluate",
    "figures",
    "fit",
    "main",
    "predict",
    "report",
]


def main() -> None:
    """Run the command line: the entry point of the package."""
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever else is set
    use_fewer_threads(os.environ)
    for stream in (sys.stdout, sys.stderr):  # Typer's own messages and help too
        never_fail_to_encode(stream)
    app()
