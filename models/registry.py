"""Parts that are known by name, imported on first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TypeVar, cast

Entry = TypeVar("Entry")


class Registry(MutableMapping[str, Entry]):
    """A mapping from names to classes that are imported when they are looked up.

    So a help text can list the names without importing torch. A class of your own is added as to
    a dictionary: ``LIKELIHOODS["geometric"] = Geometric``.

    Args:
        package: The package that holds the classes.
        places: For each name the class's module in the package and its own name:
            ``{"poisson": "poisson.Poisson"}``.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._entries: dict[str, str | Entry] = {
            name: f"{package}.{place}" for name, place in places.items()
        }

    def __getitem__(self, name: str) -> Entry:
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.rpartition(".")
            entry = self._entries[name] = cast(Entry, getattr(import_module(module), attribute))
        return entry

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
