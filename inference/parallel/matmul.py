"""Which library multiplies float32 matrices on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fast_products() -> Iterator[None]:
    """Has oneDNN multiply float32 matrices where it does so in float32.

    torch calls MKL, which is up to twice as slow as oneDNN on processors of other makers. The
    switch that brings oneDNN in also allows it to round to bfloat16: it is left as it was on
    processors where that happens, and in versions of torch that have no such switch.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None or not hasattr(matmul, "fp32_precision"):
        yield
        return
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        if not _in_float32():
            matmul.fp32_precision = before
        yield
    finally:
        matmul.fp32_precision = before


def _in_float32() -> bool:
    """Whether a product keeps digits that bfloat16, of 8 bits, has no room for."""
    fine = torch.full((64, 64), 1 + 2.0**-12)
    return bool((fine @ torch.eye(64) == fine).all())
