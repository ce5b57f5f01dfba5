"""The documentation site: ``make docs`` builds it into ``docs/_build/html``.

The source folder is the whole repository, with `include_patterns` as the pages: so this folder,
the notebooks and the rest link to each other on the site as they do in the repository.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "vae4counts"
author = "the vae4counts developers"
project_copyright = author
release = metadata.version("vae4counts")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "_extensions.command_line",
    "_extensions.docstrings",
    "_extensions.gallery",
    "_extensions.mathml",
    "_extensions.references",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "examples/README.md",
    "examples/*.ipynb",
    "benchmarks/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "docs/_*", "runs"]
templates_path = [str(HERE / "_templates")]

# Pages. Every link and every name in them has to lead somewhere.
nitpicky = True
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks come with their outputs

# The API.
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"

# Names of other libraries. Their inventories have what we refer to and no more, so that the build
# needs no network; they are of Sphinx's first format, which is plain text.
intersphinx_mapping = {
    name: (url, str(HERE / "inventories" / f"{name}.txt"))
    for name, url in {
        "anndata": "https://anndata.readthedocs.io/en/stable/",
        "arviz": "https://python.arviz.org/en/stable/",
        "markupsafe": "https://markupsafe.palletsprojects.com/en/stable/",
        "matplotlib": "https://matplotlib.org/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "pyro": "https://docs.pyro.ai/en/stable/",
        "python": "https://docs.python.org/3/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "torch": "https://docs.pytorch.org/docs/stable/",
    }.items()
}

html_theme = "furo"
html_title = "vae4counts"
html_extra_path = ["_root"]
html_static_path = ["_static"]
html_css_files = ["figures.css"]
