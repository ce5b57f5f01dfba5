"""The Chow-Liu tree: the best tree of features, found from all pairs of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.special import xlogy
from torch import nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.cooccurrence import CoOccurrence, maximum_spanning_tree
from vae4counts.models.joint.states import LumpedStates, TailedStates
from vae4counts.models.joint.tail import Tail, check_states
from vae4counts.models.joint.tree import TreeDistribution, rooted
from vae4counts.models.joint.tree_model import TreeModel

# Strengths of shrinking to the marginal that are tried, in observations.
STRENGTHS = (0.0, *np.geomspace(0.1, 1000, 25))
# No probability is below that of a state which is seen once in so many observations.
SMALLEST = 1e-12


class ChowLiuTree(TreeModel):
    r"""The tree of features that explains most, with exact tables (Chow & Liu 1968).

    Counts are cut to ``K`` states, 0, 1, ... and "K-1 or more"; what is beyond ``K-1`` follows a
    tail of its own. The tree is the one of largest mutual information between the states of
    neighbours, which is that of the largest likelihood:

    .. math:: p(x) = p(s_{root}) \prod_{j} p(s_j | s_{parent(j)}) \prod_j p(x_j | s_j)

    Tables are shrunk towards the marginal of the child, by as many observations ``a`` of it as
    predict each training observation best from all others:

    .. math:: p(s_j = l | s_i = k) = (n_{kl} + a\, p(s_j = l)) / (n_k + a).

    All is learnt in one pass over the training observations, at a cost of their pairs of
    non-zeros; there is nothing left for gradients to find.

    Args:
        n_features: Number ``G`` of features.
        n_states: Number ``K`` of states, 2 or more. The memory of learning grows with
            ``(K - 1)^2 G^2``: 256 MB for 4,096 features of 3 states, 64 MB of 2.
        tail: "negative-binomial" or "geometric"; None takes all counts from ``K-1`` on as one.
        shrinkage: The strength ``a``; chosen as above if None.
        pseudo_count: Added to how often each pair of states occurs.

    Raises:
        ValueError: Fewer than 2 states, an unknown tail, or a negative strength.
    """

    def __init__(
        self,
        n_features: int,
        n_states: int = 3,
        tail: str | None = "negative-binomial",
        shrinkage: float | None = None,
        pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        check_states(n_states, tail)
        if min(pseudo_count, shrinkage or 0.0) < 0:
            raise ValueError("shrinkage and pseudo_count must be 0 or more")
        self.n_features, self.n_states, self.tail = n_features, n_states, tail
        self.shrinkage, self.pseudo_count = shrinkage, pseudo_count
        self.lumped_from = n_states - 1 if tail is None else None
        self.numbers_per_draw = n_states * n_features
        uniform = -torch.full((n_features, n_states, n_states), float(n_states)).log()
        self.log_root = nn.Parameter(uniform[0, 0].clone(), requires_grad=False)
        self.log_transitions = nn.Parameter(uniform, requires_grad=False)
        self.rest = nn.Parameter(torch.ones(2, n_features), requires_grad=False)
        self.register_buffer("parents", torch.arange(n_features) - 1)
        self.register_buffer("nodes", torch.arange(n_features), persistent=False)

    def distribution(self) -> TreeDistribution:
        """See `JointModel.distribution`."""
        states = torch.arange(self.n_states).to(self.rest).unsqueeze(1)
        states, last = states.expand(-1, self.n_features), states[-1]
        leaves = (
            LumpedStates(states, last)
            if self.tail is None
            else TailedStates(states, last, *self.rest)
        )
        return TreeDistribution(leaves, self.levels, self.log_root, self.log_transitions)

    @torch.no_grad()
    def learn(self, batches: Iterable[Batch]) -> None:
        """Find tree, tables and tail. See `Model.learn`."""
        seen = CoOccurrence(self.n_features, self.n_states)
        tail = Tail(self.n_features, self.n_states - 1)
        for batch in batches:
            seen.add(batch.counts)
            tail.add(batch.counts)
        edges = maximum_spanning_tree(seen.mutual_information(self.pseudo_count))
        parents = rooted(self.n_features, edges)
        log_root, log_transitions = self._tables(seen, parents)
        self.parents.copy_(torch.as_tensor(parents))
        self.log_root.copy_(torch.as_tensor(log_root))
        self.log_transitions.copy_(torch.as_tensor(log_transitions))
        if self.tail is not None:
            self.rest.copy_(torch.as_tensor(tail.moments(self.tail)))

    def _tables(self, seen: CoOccurrence, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logarithms of the root's table and of all others, ``(K,)`` and ``(G, K, K)``.

        The root's own table among the others is that of its marginal.
        """
        child = np.arange(self.n_features)
        pairs = seen.pairs(np.maximum(parents, 0), child)  # (K of the parent, K of the child, G)
        marginal = seen.singles + self.pseudo_count * self.n_states
        marginal = np.maximum(marginal / marginal.sum(0), SMALLEST)
        counts = pairs + self.pseudo_count
        strength = self.shrinkage
        if strength is None:
            inner = counts[..., parents >= 0], marginal[:, parents >= 0]
            strength = max(STRENGTHS, key=lambda s: leave_one_out_score(*inner, s))
        tables = (counts + strength * marginal) / (
            counts.sum(1, keepdims=True) + strength + SMALLEST
        )
        tables = np.maximum(tables, SMALLEST)
        tables /= tables.sum(1, keepdims=True)
        tables[..., parents < 0] = marginal[:, parents < 0]
        return np.log(marginal[:, parents < 0][:, 0]), np.log(tables.transpose(2, 0, 1))


def leave_one_out_score(counts: np.ndarray, marginal: np.ndarray, strength: float) -> float:
    """Return how well tables predict each observation from all others, in nats.

    Args:
        counts: How often pairs of states occur, a row for each of the parent, shape ``(K, K, E)``.
        marginal: Probabilities of the child's states, shape ``(K, E)``.
        strength: By how many observations of the marginal tables are shrunk to it.
    """
    others = np.maximum(counts - 1, 0) + strength * marginal
    total = np.maximum(counts.sum(1, keepdims=True) - 1, 0) + strength
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(
            xlogy(counts, np.divide(others, total, where=total > 0, out=np.ones_like(others))).sum()
        )
