"""Make the notebooks: run the sources (``NAME.py``, percent format) and keep their outputs.

    python examples/execute.py [NAME ...]      all of them by default

Real data are not used, so that all outputs are those of the substitutes.
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
    "protocols",
    "captions",
    "cite_seq",
)
REAL = ("VAE4COUNTS_PBMC68K", "VAE4COUNTS_COCO", "VAE4COUNTS_TCGA", "VAE4COUNTS_CITESEQ")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def from_source(name: str) -> nbformat.NotebookNode:
    """Return the notebook of a source, without outputs."""
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for i, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell.id = f"cell-{i}"  # random ids would change with every run
    return notebook


def execute(name: str, timeout: int = 600) -> nbformat.NotebookNode:
    """Run a source in its own kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    notebook = from_source(name)
    where = {"metadata": {"path": str(EXAMPLES)}}
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources=where, record_timing=False
    )
    # tqdm warns that it lacks widgets, which a file cannot show
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
