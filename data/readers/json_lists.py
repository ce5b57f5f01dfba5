"""JSON files whose lists are too long to stand in memory with all that their entries hold."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import IO, Any

_CHUNK = 2**20  # bytes
_LONGEST = 2**26  # characters of one value, which is parsed anew as more of it comes
_NUMBER = re.compile(r"[-+.eE0-9]*")


def read_lists(file: IO[bytes], slim: Callable[[Any], Any]) -> dict[str, Any]:
    """Reads a JSON object, of which each list is read entry by entry.

    Args:
        file: UTF-8.
        slim: Is given each entry of each list, and returns what to keep of it.

    Returns:
        The object, with slim entries.

    Raises:
        ValueError: If it is no JSON object; says at which character.
    """
    text = _Text(file)
    found: dict[str, Any] = {}
    text.expect("{")
    while text.separated("}", first=not found):
        key = text.value()
        text.expect(":")
        if text.peek() != "[":
            found[key] = text.value()
            continue
        text.expect("[")
        entries: list[Any] = []
        while text.separated("]", first=not entries):
            entries.append(slim(text.value()))
        found[key] = entries
    if text.peek():
        raise text.error("the end")
    return found


class _Text:
    """A place in a text, of which little more is held than the value that is there."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._characters = codecs.getincrementaldecoder("utf-8-sig")()
        self._decode = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0
        self._dropped = 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at].isspace():
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Passes a character."""
        if self.peek() != character:
            raise self.error(repr(character))
        self._at += 1

    def separated(self, end: str, *, first: bool) -> bool:
        """Passes what stands before an entry, or the end; tells whether there is an entry."""
        if self.peek() == end:
            self._at += 1
            return False
        if not first:
            self.expect(",")
        return True

    def value(self) -> Any:
        """Passes a value."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except json.JSONDecodeError:
                if len(self._held) - self._at > _LONGEST:
                    raise self.error(f"a value of up to {_LONGEST} characters") from None
                if not self._more():
                    raise self.error("a value") from None
                continue
            length = end - self._at
            cut = _NUMBER.match(self._held, end)
            if cut and cut.end() == len(self._held) and self._more():
                continue  # a number may go on
            self._at += length
            return value

    def error(self, wanted: str) -> ValueError:
        """What to raise where the text does not go on as it should."""
        place = self._dropped + self._at
        return ValueError(f"expected {wanted} at character {place}, not {self.peek()!r}")

    def _more(self) -> bool:
        """Reads on, and lets go of what has been passed; tells whether there was more."""
        chunk = ""
        data = b"more"
        while data and not chunk:  # a few bytes may be less than a character
            data = self._file.read(_CHUNK)
            chunk = self._characters.decode(data, final=not data)
        self._dropped += self._at
        self._held = self._held[self._at :] + chunk
        self._at = 0
        return bool(chunk)
