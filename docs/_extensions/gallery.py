"""The gallery: a picture of each notebook, taken from its stored outputs, with what it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = "generated/gallery.md"
# Which of its figures stands for a notebook, from 0; those without figures are not here.
FIGURES = {
    "pbmc68k": 1,
    "scene_understanding": 2,
    "tcga_pancancer": 0,
    "swap_priors_and_likelihoods": 1,
    "posterior_inspection": 3,
    "protocols": 0,
    "captions": 0,
    "cite_seq": 0,
    "zoo_of_scenes": 5,
}
PAGE_OF = """# Gallery

A figure of each notebook, which it leads to. [Examples](../../examples/README.md) says what data
they are drawn from.

```{{raw}} html
<style>
.gallery {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }}
.gallery {{ gap: 2rem }}
.gallery a {{ text-decoration: none }}
.gallery img {{ width: 100%; height: 14rem; object-fit: contain; background: white }}
</style>
<div class="gallery">
{cards}
</div>
```
"""
CARD = """<a href="../../examples/{name}.html"><img src="data:image/png;base64,{png}" alt="">
<strong>{name}</strong><br>{words}</a>"""


def pictures(notebook: Path) -> Iterator[str]:
    """Return the figures of a notebook, in base64."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                yield "".join(png).replace("\n", "")


def cards() -> Iterator[str]:
    """Return the notebooks of the table of all examples, in its order."""
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name, words in re.findall(r"^\| \[`(\w+)`\]\(\1\.ipynb\) \| (.*?) \|", table, re.MULTILINE):
        if name in FIGURES:
            png = [*pictures(EXAMPLES / f"{name}.ipynb")][FIGURES[name]]
            yield CARD.format(name=name, png=png, words=escape(words))


def write_page(app: Sphinx) -> None:
    """Write the page before Sphinx looks for pages."""
    page = app.confdir / PAGE
    page.parent.mkdir(exist_ok=True)
    page.write_text(PAGE_OF.format(cards="\n".join(cards())), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the page written."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
