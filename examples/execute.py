"""Makes the notebooks: runs the sources (``NAME.py``, percent format) and keeps what they show.

    python examples/execute.py [NAME ...]      all of them by default

The real data are left out, so that what is kept comes from the substitutes alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent
NAMES = (
    "pbmc68k",
    "scene_understanding",
    "tcga_pancancer",
    "swap_priors_and_likelihoods",
    "posterior_inspection",
    "write_your_own",
)
REAL = ("VAE4COUNTS_PBMC68K", "VAE4COUNTS_COCO", "VAE4COUNTS_TCGA")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def from_source(name: str) -> nbformat.NotebookNode:
    """The notebook of a source, without outputs."""
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for i, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell.id = f"cell-{i}"  # random ones would make every run a change
    return notebook


def execute(name: str, timeout: int = 600) -> nbformat.NotebookNode:
    """Runs a source in a kernel of its own.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    notebook = from_source(name)
    where = {"metadata": {"path": str(EXAMPLES)}}
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources=where, record_timing=False
    )
    # tqdm misses widgets, which have no place in a file
    client.execute(env=os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"})
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    return notebook


if __name__ == "__main__":
    for variable in REAL:
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["VAE4COUNTS_DATA"] = empty
        for chosen in sys.argv[1:] or NAMES:
            nbformat.write(execute(chosen), EXAMPLES / f"{chosen}.ipynb")
