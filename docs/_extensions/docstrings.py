"""Docstrings in Google's style whose types are in the annotations alone.

Napoleon takes what is before the first colon of "Returns" and of a property's docstring for a type;
here it is the beginning of the sentence.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring


def consume_returns(self: GoogleDocstring, preprocess_types: bool = False) -> list:  # noqa: ARG001
    """Return the section as a description without name and type."""
    lines = self._dedent(self._consume_to_next_section())
    return [("", "", lines)] if lines else []


def consume_attribute(self: GoogleDocstring) -> tuple[str, list[str]]:
    """Return no type, and the docstring with its sections formatted."""
    first = self._lines.next()
    lines = [first, *self._dedent(self._consume_to_end())]
    return "", type(self)(lines, self._config).lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Napoleon read them so."""
    app.setup_extension("sphinx.ext.napoleon")
    GoogleDocstring._consume_returns_section = consume_returns
    GoogleDocstring._consume_inline_attribute = consume_attribute
    return {"parallel_read_safe": True, "parallel_write_safe": True}
