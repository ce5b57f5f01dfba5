"""Log-probabilities of counts under leaves, at the cost of the non-zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vae4counts.models.likelihoods.distribution import CountDistribution
from vae4counts.models.likelihoods.nonzeros import NonZeros
from vae4counts.models.likelihoods.sparse import Family
from vae4counts.models.numerics import first_order


@dataclass(frozen=True, slots=True)
class Places:
    """Where leaves are attached to the nodes of trees over all features.

    Attributes:
        nodes: The node of each feature in each of ``R`` trees, shape ``(R, G)``.
        n_nodes: Number ``N`` of nodes of all trees.
    """

    nodes: Tensor
    n_nodes: int

    def join(self, log_leaves: Tensor) -> Tensor:
        """Multiply the leaves at each node.

        Args:
            log_leaves: Log-probabilities under ``H`` leaves of each feature in each tree, tree by
                tree, shape ``(B, G, R * H)``.

        Returns:
            Log-probabilities of each node's states, 0 without a leaf, shape ``(N, B, H)``.
        """
        by_tree = log_leaves.unflatten(-1, (len(self.nodes), -1)).permute(2, 1, 0, 3).flatten(0, 1)
        nothing = by_tree.new_zeros(self.n_nodes, *by_tree.shape[1:])
        return nothing.index_add(0, self.nodes.flatten(), by_tree)

    def of_features(self, of_nodes: Tensor) -> Tensor:
        """Return what belongs to each feature's nodes, ``(N, H)``, as ``(G, R * H)``."""
        return of_nodes[self.nodes.t()].flatten(1)


def log_leaves(leaves: CountDistribution, values: Tensor) -> Tensor:
    """Return the log-probability of every count under each of ``H`` leaves of its feature.

    Args:
        leaves: Leaves of batch shape ``(H,)``.
        values: Counts, CSR or dense, shape ``(B, G)``.

    Returns:
        Nats, shape ``(B, G, H)``.
    """
    n_features = values.shape[-1]
    columns = torch.arange(n_features, device=values.device)
    return log_nodes(leaves, values, Places(columns.unsqueeze(0), n_features)).transpose(0, 1)


def log_nodes(leaves: CountDistribution, values: Tensor, places: Places) -> Tensor:
    r"""Return the log-probability of the counts at every node under each of its states.

    .. math:: \ell_{nbh} = \sum_{g \text{ at } n} \log p_{gh}(0) + \sum_{g \text{ at } n,\,
              x_{bg} > 0} (\log p_{gh}(x_{bg}) - \log p_{gh}(0))

    The leaves are the same for all observations, so that the first sum is computed once, and the
    second has the non-zeros only.

    Args:
        leaves: Leaves of batch shape ``(R * H,)``, those of one tree after the other.
        values: Counts, CSR or dense, shape ``(B, G)``.
        places: Where these leaves are.

    Returns:
        Nats, shape ``(N, B, H)``.
    """
    parameters = [torch.atleast_2d(parameter) for parameter in leaves.parameters]
    counts = NonZeros.of(values.to(parameters[0].dtype))
    n_leaves = leaves.batch_shape.numel()
    return _LogNodes.apply(leaves.family, counts, places, n_leaves, *parameters)


class _LogNodes(torch.autograd.Function):
    """The sum above, differentiated with what the family states."""

    @staticmethod
    def forward(
        ctx: Any,
        family: Family,
        counts: NonZeros,
        places: Places,
        n_leaves: int,
        *parameters: Tensor,
    ) -> Tensor:
        by_feature = [parameter.t() for parameter in parameters]  # (G or 1, R * H or 1)
        zero, zero_slopes = family.zero(*by_feature)
        at_entries = [p if len(p) == 1 else p.index_select(0, counts.columns) for p in by_feature]
        ratio, ratio_slopes = family.ratio(counts.values.unsqueeze(-1), *at_entries)
        (n_rows, n_features), n_trees = counts.shape, len(places.nodes)
        of_zeros = places.join(zero.expand(1, n_features, n_leaves))
        found = of_zeros.expand(-1, n_rows, -1).clone(memory_format=torch.contiguous_format)
        # a row for each non-zero and tree: its node and observation
        ctx.entries = (places.nodes[:, counts.columns] * n_rows + counts.rows).t().flatten()
        ratio = ratio.expand(-1, n_leaves).reshape(-1, n_leaves // n_trees)
        found.view(-1, n_leaves // n_trees).index_add_(0, ctx.entries, ratio)
        ctx.counts, ctx.places = counts, places
        ctx.shapes = [parameter.shape for parameter in by_feature]
        ctx.save_for_backward(*zero_slopes, *ratio_slopes)
        return found

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        counts, saved, count = ctx.counts, ctx.saved_tensors, len(ctx.shapes)
        of_all = ctx.places.of_features(gradient.sum(1))
        at_entries = gradient.reshape(-1, gradient.shape[-1]).index_select(0, ctx.entries)
        at_entries = at_entries.view(-1, of_all.shape[-1])
        gradients: list[Tensor | None] = [None] * count
        for i, shape in enumerate(ctx.shapes):
            if ctx.needs_input_grad[4 + i]:
                dense = (of_all * saved[i]).contiguous()
                dense.index_add_(0, counts.columns, at_entries * saved[count + i])
                gradients[i] = dense.sum_to_size(shape).t()
        return None, None, None, None, *gradients
