"""The number of threads that torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def kept_threads(number: int | None = None) -> Iterator[None]:
    """Give torch the number of threads back that it has now, after a ``with`` block.

    numba, which UMAP is compiled by, sets OpenMP's number for all libraries of the process. Fits
    would then take other threads than were asked for, and other numbers in the last digit.

    Args:
        number: How many torch has inside the block; None for as many as it has now.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
