"""People's own text made fit to be shown: names of features, classes and files, and of errors."""

from __future__ import annotations

# Names are cut to this many letters where there is little room.
LONGEST_NAME = 30


def one_line(text: object) -> str:
    """Return text as one line of characters that print.

    Whitespace of any kind becomes a space. Other characters that do not print, some of which a
    terminal would obey, become what Python's `repr` shows.
    """
    joined = " ".join(str(text).strip().splitlines())
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in joined)


def reason_of(error: BaseException) -> str:
    """Return the first line of what an error says, or what it is where it says nothing."""
    first = str(error).strip().partition("\n")[0]
    return one_line(first) or type(error).__name__


def short_name(name: object, longest: int = LONGEST_NAME) -> str:
    """Return a name as one line of few letters: a long one without its middle, never an empty one.

    Both ends are kept, since names tend to differ in either.
    """
    text = one_line(name) or "(empty)"
    end = longest // 3
    return text if len(text) <= longest else f"{text[: longest - end - 1]}…{text[-end:]}"
