"""What a shell completes, beside the names of files: choices and data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def completing(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes the beginning of one of some words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def data_sets(incomplete: str) -> list[str]:
    """Complete the name of a data set."""
    from vae4counts.data import DATASETS

    return completing(DATASETS)(incomplete)
