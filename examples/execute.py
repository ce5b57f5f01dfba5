"""Make the notebooks: run the sources (``NAME.py``, percent format) and keep their outputs.

    python examples/execute.py [NAME ...]      all of them by default

Real data are not used, so that all outputs are those of the substitutes; but those of
``zoo_of_scenes`` are of COCO's counts, whose file ``VAE4COUNTS_COCO`` has to name.
"""

from __future__ import annotations

import os
import sys
import tempfile
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

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
    "zoo_of_scenes",
)
REAL = ("VAE4COUNTS_PBMC68K", "VAE4COUNTS_COCO", "VAE4COUNTS_TCGA", "VAE4COUNTS_CITESEQ")
# Notebooks whose outputs are those of real data, and what names these.
OF_REAL_DATA = {"zoo_of_scenes": "VAE4COUNTS_COCO"}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def from_source(name: str) -> nbformat.NotebookNode:
    """Return the notebook of a source, without outputs."""
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for i, cell in enumerate(notebook.cells):
        # of what a source says of a cell: the words for a figure that cannot be seen
        kept = {key: value for key, value in cell.metadata.items() if key == "mystnb"}
        cell.metadata = nbformat.from_dict(kept)
        cell.id = f"cell-{i}"  # random ids would change with every run
    return notebook


def environment(name: str) -> dict[str, str]:
    """Return the environment of a notebook: without real data, unless its outputs are of these.

    Raises:
        SystemExit: They are, and no variable names the data.
    """
    needed = OF_REAL_DATA.get(name)
    if needed is not None and needed not in os.environ:
        sys.exit(f"{name} shows real data: set {needed} to their file")
    kept = {key: value for key, value in os.environ.items() if key not in REAL or key == needed}
    # tqdm warns that it lacks widgets, which a file cannot show
    return kept | {"PYTHONWARNINGS": "ignore:IProgress not found"}


def execute(name: str, timeout: int = 3600) -> nbformat.NotebookNode:
    """Run a source in its own kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    notebook = from_source(name)
    where = {"metadata": {"path": str(EXAMPLES)}}
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources=where, record_timing=False
    )
    client.execute(env=environment(name))
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for figure in figures(notebook):
        figure["image/png"] = smaller(figure["image/png"])
    return notebook


def figures(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the data of all outputs that are figures."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return [output.data for output in outputs if "image/png" in output.get("data", {})]


def smaller(png: str) -> str:
    """Return a figure, in base 64, with 256 colours: a third of the size."""
    image = Image.open(BytesIO(b64decode(png))).convert("RGB")
    # the default merges rare colours, such as those of a legend, with others
    image = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    file = BytesIO()
    image.save(file, "png", optimize=True)
    return b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        os.environ["VAE4COUNTS_DATA"] = empty
        for chosen in sys.argv[1:] or NAMES:
            nbformat.write(execute(chosen), EXAMPLES / f"{chosen}.ipynb")
