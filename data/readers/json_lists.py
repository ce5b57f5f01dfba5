"""JSON files whose lists are too long to be in memory with all keys of their entries."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import IO, Any

_CHUNK_SIZE = 2**20  # bytes
_MAX_VALUE_LENGTH = 2**26  # characters; a value is parsed again each time more of it arrives
_NUMBER = re.compile(r"[-+.eE0-9]*")


def read_lists(file: IO[bytes], shrink: Callable[[Any], Any]) -> dict[str, Any]:
    """Read a JSON object whose lists are read entry by entry.

    Args:
        file: UTF-8.
        shrink: Function from an entry of a list to what is kept of it.

    Returns:
        The object, with the entries as they were kept.

    Raises:
        ValueError: The file is not a JSON object; names the character.
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
            entries.append(shrink(text.value()))
        found[key] = entries
    if text.peek():
        raise text.error("the end")
    return found


class _Text:
    """A position in a text, of which little more than the value at that position is in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._characters = codecs.getincrementaldecoder("utf-8-sig")()
        self._decode = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0
        self._dropped = 0

    def peek(self) -> str:
        """Return the next character that is not a space; "" at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at].isspace():
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Move past a character."""
        if self.peek() != character:
            raise self.error(repr(character))
        self._at += 1

    def separated(self, end: str, *, first: bool) -> bool:
        """Move past what precedes an entry, or past the end; tell whether there is an entry."""
        if self.peek() == end:
            self._at += 1
            return False
        if not first:
            self.expect(",")
        return True

    def value(self) -> Any:
        """Move past a value, and return it."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except json.JSONDecodeError:
                if len(self._held) - self._at > _MAX_VALUE_LENGTH:
                    raise self.error(f"a value of up to {_MAX_VALUE_LENGTH} characters") from None
                if not self._more():
                    raise self.error("a value") from None
                continue
            length = end - self._at
            cut = _NUMBER.match(self._held, end)
            if cut and cut.end() == len(self._held) and self._more():
                continue  # a number may continue
            self._at += length
            return value

    def error(self, wanted: str) -> ValueError:
        """Return the error of a text that does not continue as expected."""
        place = self._dropped + self._at
        return ValueError(f"expected {wanted} at character {place}, not {self.peek()!r}")

    def _more(self) -> bool:
        """Read more, and forget what lies behind; tell whether there was more."""
        chunk = ""
        data = b"more"
        while data and not chunk:  # a few bytes may be less than a character
            data = self._file.read(_CHUNK_SIZE)
            chunk = self._characters.decode(data, final=not data)
        self._dropped += self._at
        self._held = self._held[self._at :] + chunk
        self._at = 0
        return bool(chunk)
