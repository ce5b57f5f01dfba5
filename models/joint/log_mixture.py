"""Mixtures of states, in logarithms: what the nodes of a tree or a circuit pass on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae4counts.models.numerics import first_order


def log_mixture(log_p: Tensor, weights: Tensor) -> Tensor:
    r"""Return the log-probabilities of mixtures of states, :math:`\log \sum_j p_{nbj} w_{njk}`.

    What is less likely than the likeliest state by about 69 nats (690 in float64) is lost.

    Args:
        log_p: Log-probabilities of each of ``J`` states, shape ``(N, B, J)``.
        weights: The weights ``w`` of the mixtures, shape ``(N, J, K)``.

    Returns:
        Nats, shape ``(N, B, K)``.
    """
    return _LogMixture.apply(log_p, weights)


class _LogMixture(torch.autograd.Function):
    """The logarithm of a product of matrices, whose shares are computed once for both passes."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, weights: Tensor) -> Tensor:
        largest = log_p.amax(-1, keepdim=True)
        shares = (log_p - largest).exp_()
        # far above the smallest number, so that a gradient divided by it is finite
        sums = torch.bmm(shares, weights).add_(1e8 * torch.finfo(log_p.dtype).tiny)
        ctx.save_for_backward(shares, sums, weights)
        return sums.log().add_(largest)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shares, sums, weights = ctx.saved_tensors
        gradient = gradient / sums
        of_shares = torch.bmm(gradient, weights.mT).mul_(shares)
        of_weights = torch.bmm(shares.mT, gradient) if ctx.needs_input_grad[1] else None
        return of_shares, of_weights
