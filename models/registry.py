"""Parts that are known by name, imported when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, TypeVar

Entry = TypeVar("Entry")


class Registry(MutableMapping[str, Entry]):
    """A mapping from names to classes, most of them not imported yet.

    So a help text can list the names without importing torch. A class of your own is added as to
    a dictionary: ``LIKELIHOODS["geometric"] = Geometric``.

    Args:
        package: The package that holds the classes.
        places: For each name the class's module in the package and its own name:
            ``{"poisson": "poisson.Poisson"}``.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._places = {name: f"{package}.{place}" for name, place in places.items()}
        self._entries: dict[str, Any] = dict.fromkeys(places)

    def __getitem__(self, name: str) -> Entry:
        if self._entries[name] is None:
            module, _, attribute = self._places[name].rpartition(".")
            self._entries[name] = getattr(import_module(module), attribute)
        return self._entries[name]

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
