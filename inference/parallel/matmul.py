"""Which library multiplies float32 matrices on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fast_products() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices inside a ``with`` block, where it does so exactly.

    torch calls MKL, which is up to twice as slow as oneDNN on processors of other makers. The
    switch that selects oneDNN also allows it to round to bfloat16: nothing is changed on
    processors where that happens, nor in versions of torch without this switch.
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
    """Whether a product keeps digits that bfloat16, with 8 bits, cannot hold."""
    fine = torch.full((64, 64), 1 + 2.0**-12)
    return bool((fine @ torch.eye(64) == fine).all())
