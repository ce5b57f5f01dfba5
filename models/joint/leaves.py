"""Log-probabilities of every count under every leaf, at the cost of the non-zeros."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae4counts.models.likelihoods.distribution import CountDistribution
from vae4counts.models.likelihoods.nonzeros import NonZeros
from vae4counts.models.likelihoods.sparse import Family
from vae4counts.models.numerics import first_order


def log_leaves(leaves: CountDistribution, values: Tensor) -> Tensor:
    r"""Return the log-probability of every count under each of ``H`` leaves of its feature.

    .. math:: \ell_{bgh} = \log p_{gh}(0) + [x_{bg} > 0] \, (\log p_{gh}(x_{bg}) - \log p_{gh}(0))

    The leaves are the same for all observations, so that ``log p(0)`` is computed once, and the
    rest at the non-zeros only.

    Args:
        leaves: Leaves of batch shape ``(H,)``.
        values: Counts, CSR or dense, shape ``(B, G)``.

    Returns:
        Nats, shape ``(B, G, H)``.
    """
    parameters = [torch.atleast_2d(parameter) for parameter in leaves.parameters]
    dtype = parameters[0].dtype
    counts = NonZeros.of(values.to(dtype))
    n_leaves = leaves.batch_shape.numel()
    return _LogLeaves.apply(leaves.family, counts, n_leaves, *parameters)


class _LogLeaves(torch.autograd.Function):
    """The sum above, differentiated with what the family states."""

    @staticmethod
    def forward(
        ctx: Any, family: Family, counts: NonZeros, n_leaves: int, *parameters: Tensor
    ) -> Tensor:
        by_feature = [parameter.t() for parameter in parameters]  # (G or 1, H or 1)
        zero, zero_slopes = family.zero(*by_feature)
        at_entries = [p if len(p) == 1 else p.index_select(0, counts.columns) for p in by_feature]
        ratio, ratio_slopes = family.ratio(counts.values.unsqueeze(-1), *at_entries)
        n_rows, n_features = counts.shape
        found = zero.expand(n_rows, n_features, n_leaves).clone(
            memory_format=torch.contiguous_format
        )
        found.view(-1, n_leaves).index_add_(0, counts.flat, ratio.expand(-1, n_leaves))
        ctx.counts = counts
        ctx.shapes = [parameter.shape for parameter in by_feature]
        ctx.save_for_backward(*zero_slopes, *ratio_slopes)
        return found

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        counts, saved, count = ctx.counts, ctx.saved_tensors, len(ctx.shapes)
        n_leaves = gradient.shape[-1]
        of_all = gradient.sum(0)
        at_entries = gradient.reshape(-1, n_leaves).index_select(0, counts.flat)
        gradients: list[Tensor | None] = [None] * count
        for i, shape in enumerate(ctx.shapes):
            if ctx.needs_input_grad[3 + i]:
                dense = (of_all * saved[i]).contiguous()
                dense.index_add_(0, counts.columns, at_entries * saved[count + i])
                gradients[i] = dense.sum_to_size(shape).t()
        return None, None, None, *gradients
