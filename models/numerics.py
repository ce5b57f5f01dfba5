"""Rules of all computations: float32 at least, first derivatives only, no mean of what is NaN."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

# Expected counts below this are treated as this: the logarithm of a rate that underflowed would be
# -inf and its gradient NaN.
SMALLEST_RATE = 1e-20


def at_least_float32(outputs: Tensor) -> Tensor:
    """Return a network's outputs in float32 or wider, whatever the network computes in."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def column_means(values: Tensor) -> Tensor:
    """Return the mean of each column of a ``(B, G)`` table; 0 for one without values.

    Args:
        values: CSR, or dense with NaN where entries are missing.
    """
    if values.layout != torch.strided:
        return values.sum(0, keepdim=True).to_dense().squeeze(0) / max(1, len(values))
    return values.nanmean(0).nan_to_num(0.0)


def log2_rates(means: Tensor, added: Tensor | float = 0.0) -> Tensor:
    """Return the logarithms to base 2 of rates, to which something may be added first."""
    return (means + added).clamp_min(SMALLEST_RATE).log2()


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward pass that cannot be differentiated, so that doing so is an error.

    torch's ``once_differentiable`` raises only if the incoming gradient requires a gradient; if it
    does not, the result is silently a constant.
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "models have first derivatives only: create_graph=True needs second derivatives"
            )
        return backward(ctx, *gradients)

    return checked
