"""What an object says of itself where it is shown: facts by name, as text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

_TABLE = Markup("<table><caption>{}</caption>{}</table>")
_ROW = Markup('<tr><th style="text-align: left">{}</th><td style="text-align: left">{}</td></tr>')


def as_text(title: str, facts: Mapping[str, str]) -> str:
    """Return a title, and a line for each fact below it."""
    width = max(map(len, facts))
    return "\n".join([title, *(f"    {name:{width}}  {fact}" for name, fact in facts.items())])


def as_html(title: str, facts: Mapping[str, str]) -> str:
    """Return a table with a title, and a row for each fact."""
    rows = Markup("").join(_ROW.format(name, fact) for name, fact in facts.items())
    return str(_TABLE.format(title, rows))
