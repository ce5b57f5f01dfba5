"""Trees of states, and the distribution of counts that depend on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from torch import Tensor

from vae4counts.models.joint.leaf_distribution import LeafDistribution
from vae4counts.models.joint.leaves import Places
from vae4counts.models.joint.log_mixture import log_mixture
from vae4counts.models.likelihoods.distribution import CountDistribution


@dataclass(frozen=True)
class Levels:
    """The nodes of a rooted tree by their depth, so that messages pass a level at a time.

    Attributes:
        order: The nodes, those of a level one after the other, the root first; shape ``(N,)``.
        sizes: How many nodes each level has.
        parents: For each level but the first, where in the level above its nodes' parents are.
        places: The place in the order of each feature's node, shape ``(G,)``.
    """

    order: Tensor
    sizes: list[int]
    parents: list[Tensor]
    places: Tensor

    @classmethod
    def of(cls, parents: Tensor, nodes: Tensor) -> Levels:
        """Find the levels of a tree.

        Args:
            parents: The parent of each node, -1 for the root, int64, shape ``(N,)``.
            nodes: The node whose state each feature depends on, int64, shape ``(G,)``.
        """
        above = parents.cpu().numpy()
        depth = np.full(len(above), -1)
        depth[above < 0] = 0
        while (depth < 0).any():
            deeper = depth[above] + 1
            is_new = (depth < 0) & (deeper > 0)
            if not is_new.any():
                raise ValueError("the parents are not those of a tree: there is a circle")
            depth[is_new] = deeper[is_new]
        order = np.lexsort((above, depth))
        sizes = np.bincount(depth)
        starts = np.cumsum(sizes) - sizes
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        local = place - starts[depth]
        by_level = np.split(order, np.cumsum(sizes)[:-1])
        device = parents.device
        return cls(
            order=torch.as_tensor(order, device=device),
            sizes=sizes.tolist(),
            parents=[torch.as_tensor(local[above[level]], device=device) for level in by_level[1:]],
            places=torch.as_tensor(place, device=device)[nodes],
        )


def rooted(n_nodes: int, edges: np.ndarray) -> np.ndarray:
    """Root a tree in the middle of its longest path, so that it has as few levels as can be.

    Args:
        n_nodes: Number ``N`` of nodes.
        edges: Its edges, shape ``(N - 1, 2)``.

    Returns:
        The parent of each node, -1 for the root, shape ``(N,)``.
    """
    ones = np.ones(len(edges))
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(n_nodes, n_nodes)).tocsr()
    far = breadth_first_order(graph, 0, directed=False)[0][-1]
    order, before = breadth_first_order(graph, far, directed=False)
    path = [order[-1]]
    while path[-1] != far:
        path.append(before[path[-1]])
    _, before = breadth_first_order(graph, path[len(path) // 2], directed=False)
    return np.where(before < 0, -1, before).astype(np.int64)


class TreeDistribution(LeafDistribution):
    r"""Counts that depend on a tree of states, one state of ``H`` at each of its ``N`` nodes.

    .. math:: p(x) = \sum_h p(h_{root}) \prod_{n} p(h_n | h_{parent(n)})
              \prod_g p_{g h_{n(g)}}(x_g)

    Args:
        leaves: See `LeafDistribution`.
        levels: The tree.
        log_root: Log-probabilities of the root's states, shape ``(H,)``.
        log_transitions: ``log p(h_n | h_parent)`` of each node (the root's is not read), shape
            ``(N, H, H)``, a row for each state of the parent.
        validate_args: See `LeafDistribution`.
    """

    def __init__(
        self,
        leaves: CountDistribution,
        levels: Levels,
        log_root: Tensor,
        log_transitions: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.levels, self.log_root, self.log_transitions = levels, log_root, log_transitions
        places = Places(levels.places.unsqueeze(0), len(levels.order))
        super().__init__(leaves, places, validate_args)

    def log_evidence(self, log_nodes: Tensor) -> Tensor:
        """See `LeafDistribution.log_evidence`."""
        return (self._upward(log_nodes)[0][0] + self.log_root.to(log_nodes)).logsumexp(-1)

    @torch.no_grad()
    def draw_states(self, log_nodes: Tensor) -> Tensor:
        """See `LeafDistribution.draw_states`: from the root to the leaves."""
        root, *below = self._upward(log_nodes)
        states = _drawn(root + self.log_root.to(root))
        drawn = [states]
        transitions = self._transitions(log_nodes)[1:]
        for known, log_p, parents in zip(below, transitions, self.levels.parents, strict=True):
            above = states[parents]  # (n, B)
            states = _drawn(known + log_p.gather(1, above.unsqueeze(-1).expand_as(known)))
            drawn.append(states)
        return torch.cat(drawn)[self.levels.places].t()

    def information(self) -> Tensor:
        """Return the mutual information of each node's state and its parent's, shape ``(N,)``.

        In nats, float64, by the nodes' own numbers; 0 for the root.
        """
        above = self.log_root.double().exp().unsqueeze(0)
        found = [above.new_zeros(1)]
        transitions = self._transitions(above)[1:]
        for log_p, parents in zip(transitions, self.levels.parents, strict=True):
            joint = above[parents].unsqueeze(-1) * log_p.exp()  # (n, H of the parent, H)
            above = joint.sum(1)
            gain = log_p - above.log().unsqueeze(1)
            found.append(torch.where(joint > 0, joint * gain, 0.0).sum((1, 2)))
        by_node = torch.empty(len(self.levels.order), dtype=above.dtype, device=above.device)
        by_node[self.levels.order] = torch.cat(found)
        return by_node

    def _upward(self, log_nodes: Tensor) -> list[Tensor]:
        """Return what the leaves below each node say of its state, ``(n, B, H)`` for each level."""
        known = list(log_nodes.split(self.levels.sizes))
        transitions = self._transitions(log_nodes)
        for depth in range(len(known) - 1, 0, -1):
            message = log_mixture(known[depth], transitions[depth].exp().mT)
            parents = self.levels.parents[depth - 1]
            known[depth - 1] = known[depth - 1].index_add(0, parents, message)
        return known

    def _transitions(self, like: Tensor) -> list[Tensor]:
        """The transitions of each level's nodes, in the dtype of another tensor."""
        in_order = self.log_transitions.to(like)[self.levels.order]
        return list(in_order.split(self.levels.sizes))


def _drawn(log_weights: Tensor) -> Tensor:
    """Draw a state from each row of log-weights."""
    return torch.distributions.Categorical(logits=log_weights).sample()
