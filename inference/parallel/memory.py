"""How a training process treats memory: what a step frees, and what Python's collector visits.

Both settings are the process's, not a fit's: the command line asks for them, and so do the
processes that a fit starts. A script or notebook that trains for long may call them too.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's names for the options, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory for the next step instead of returning it to the kernel.

    A step frees a dozen arrays of the size of a batch and asks for the same again. glibc by
    default returns them to the kernel, which then clears every page anew: with a few thousand
    features that is a third of the time of a step. The setting lasts as long as the process. It
    does nothing where the C library is another one.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def settled_objects() -> Iterator[None]:
    """Exempt all objects that exist now from garbage collection, inside a ``with`` block.

    The traces of every step make the collector visit all objects of the process now and then, most
    of them imported modules: a twentieth of the time of a step.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
