"""Hand-written derivatives that have none themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a backward pass that has no derivative itself, to say so where one is asked for.

    torch's ``once_differentiable`` says so only where the incoming gradient has a gradient, and
    gives a constant, silently, where it has none.
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "models have first derivatives only: create_graph=True needs second ones"
            )
        return backward(ctx, *gradients)

    return checked
