"""The log-probability of each count on its own, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vae4counts.models.likelihoods import CountDistribution, Terms
from vae4counts.models.numerics import first_order


def log_probs(counts: CountDistribution, values: Tensor) -> Tensor:
    """Return the log-probability of each count, with gradients, shape ``(B, G)``.

    Args:
        counts: Of batch shape ``(B,)``.
        values: Dense, shape ``(B, G)``.
    """
    zero = _Stated.apply(counts.family.zero, *counts.parameters)
    # a ratio is defined for counts above zero only
    ratio = _Stated.apply(partial(counts.family.ratio, values.clamp_min(1)), *counts.parameters)
    return zero + torch.where(values > 0, ratio, 0.0)


class _Stated(torch.autograd.Function):
    """A function whose value comes with its derivative by each argument, elementwise."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Terms], *arguments: Tensor) -> Tensor:
        value, slopes = function(*arguments)
        ctx.shapes = [argument.shape for argument in arguments]
        ctx.save_for_backward(*slopes)
        return value

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(
            (gradient * slope).sum_to_size(shape)
            for slope, shape in zip(ctx.saved_tensors, ctx.shapes, strict=True)
        )
