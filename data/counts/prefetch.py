"""Preparing the next item in a thread while this one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from vae4counts.data.cpus import available_cpus

Item = TypeVar("Item")


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, each made in a thread while the one before it is used."""
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield item


def has_spare_core() -> bool:
    """Tell whether a thread of our own has a core that torch leaves free.

    Without one, torch's threads wait at the end of every operation for the one whose core is
    taken: prefetching then costs more than it saves.
    """
    return available_cpus() > torch.get_num_threads()
