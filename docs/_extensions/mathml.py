"""Formulas as MathML, which browsers draw by themselves: no script, nothing from the network."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger
from sphinx.writers.html5 import HTML5Translator

logger = getLogger(__name__)


def visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    write(writer, node)


def visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own, which scrolls by itself where it is wider than the page."""
    writer.body.append('<div style="overflow-x: auto">')
    try:
        write(writer, node, as_block=True)
    finally:
        writer.body.append("</div>\n")


def write(writer: HTML5Translator, node: nodes.Element, *, as_block: bool = False) -> None:
    """Write a formula, or warn of one that has what the converter does not know."""
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logger.warning("%s", error, location=node)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it the renderer of formulas."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
