"""Elements of HTML. All text that they are given is escaped, by `Markup.format`."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

DPI = 130
LONG_TEXT = 40
# Tables with more rows, columns or values in a list are cut: nobody would read them.
MOST_ROWS = 200
MOST_COLUMNS = 60
MOST_VALUES = 50
NUMBER = Markup(' class="number"')


def paragraph(text: str) -> Markup:
    """Return a paragraph."""
    return Markup("<p>{}</p>").format(text)


def bullets(texts: Iterable[str]) -> Markup:
    """Return a list of sentences."""
    return Markup("<ul>{}</ul>").format(Markup().join(map(Markup("<li>{}</li>").format, texts)))


def code(text: str, label: str) -> Markup:
    """Return lines to copy, with a heading."""
    return Markup('<h3>{}</h3><pre tabindex="0"><code>{}</code></pre>').format(label, text)


def facts(named: Mapping[str, Any], caption: str) -> Markup:
    """Return a table of names and values; a value may be a mapping of further ones."""
    rows = Markup().join(
        Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(name, shown(value))
        for name, value in named.items()
    )
    return _scrolling(rows, caption)


def table(frame: pd.DataFrame, caption: str) -> Markup:
    """Return a table with names of its rows and columns; of a large one the beginning."""
    whole, frame = frame, frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    if frame.shape != whole.shape:
        parts = [f"{n:,} of {n_all:,}" for n, n_all in zip(frame.shape, whole.shape, strict=True)]
        caption += f" ({parts[0]} rows and {parts[1]} columns)"
    kinds = [pd.api.types.is_numeric_dtype(frame.iloc[:, j]) for j in range(frame.shape[1])]
    named = zip((frame.index.name or "", *frame.columns), (False, *kinds), strict=True)
    head = Markup().join(
        Markup('<th scope="col"{}>{}</th>').format(NUMBER if is_number else "", name)
        for name, is_number in named
    )
    rows = Markup().join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, _cells(row))
        for name, row in zip(frame.index, frame.itertuples(index=False), strict=True)
    )
    return _scrolling(
        Markup("<thead><tr>{}</tr></thead><tbody>{}</tbody>").format(head, rows), caption
    )


def figure(drawn: Figure, alt: str, caption: str) -> Markup:
    """Return a picture, as a PNG inside of the page."""
    file = io.BytesIO()
    drawn.savefig(file, dpi=DPI, format="png")
    width, height = (drawn.get_size_inches() * 96).astype(int)
    return Markup(
        '<figure><div class="drawn"><img src="data:image/png;base64,{}" alt="{}" width="{}" '
        'height="{}"></div><figcaption>{}</figcaption></figure>'
    ).format(base64.b64encode(file.getvalue()).decode(), alt, width, height, caption)


def shown(value: Any) -> str | Markup:
    """Return a value as people read it; a mapping as one line for each value."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Mapping):
        lines = (Markup("{}: {}").format(name, shown(part)) for name, part in value.items())
        return Markup("<br>").join(lines)
    if isinstance(value, (list, tuple)):
        more = [f"and {len(value) - MOST_VALUES:,} more"] if len(value) > MOST_VALUES else []
        return Markup(", ").join([*(shown(part) for part in value[:MOST_VALUES]), *more])
    if value is None or (isinstance(value, Real) and math.isnan(float(value))):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        number = float(value)
        return f"{number:,.1f}" if abs(number) >= 100 else f"{number:.3g}"
    return str(value)


def _cells(values: Iterable[Any]) -> Markup:
    cells = []
    for value in values:
        text = shown(value)
        # on a narrow screen, long texts would be squeezed to one word a line
        is_long = Markup(' class="long"') if len(text) > LONG_TEXT else ""
        kind = NUMBER if isinstance(value, Real) else is_long
        cells.append(Markup("<td{}>{}</td>").format(kind, text))
    return Markup().join(cells)


def _scrolling(rows: Markup, caption: str) -> Markup:
    """A table that scrolls by itself where it is too wide, with the keyboard too."""
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{0}">'
        "<table><caption>{0}</caption>{1}</table></div>"
    ).format(caption, rows)
