"""The sums and products of a circuit over balanced binary trees, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vae4counts.models.joint.log_mixture import log_mixture


@dataclass(frozen=True, slots=True)
class Layers:
    r"""Sums and products over the regions of ``R`` balanced binary trees.

    The product of a region's two parts in state ``k`` is a sum over the states of each part
    (Peharz et al. 2020, with the low-rank layers of Mari et al. 2023):

    .. math:: p(x_{region} \mid k) = \prod_{part} \sum_j w^{part}_{jk}\, p(x_{part} \mid j).

    Regions of all trees that are equally large are evaluated together: those of the pairs of
    features come first, tree by tree, in the order of the features.

    Attributes:
        weights: For each level from the pairs on, ``w`` of shape ``(parts, K, K)``, summing to 1
            over ``j``.
        log_root: The logarithm of the weights of the trees' ``K`` states, ``(R, K)``, of sum 1.
    """

    weights: Sequence[Tensor]
    log_root: Tensor

    @property
    def n_pairs(self) -> int:
        """The number of pairs in all trees."""
        return len(self.log_root) * 2 ** len(self.weights)

    def upward(self, pairs: Tensor) -> list[Tensor]:
        """Evaluate each level, from the pairs' log-probabilities on.

        Args:
            pairs: ``log p(x_pair | k)``, shape ``(R * N / 2, B, K)``.

        Returns:
            The log-probabilities of each level, that of the whole trees, ``(R, B, K)``, last.
        """
        levels = [pairs]
        for weights in self.weights:
            sums = log_mixture(levels[-1], weights.to(pairs.dtype))
            levels.append(sums.unflatten(0, (-1, 2)).sum(1))
        return levels

    def log_evidence(self, top: Tensor) -> Tensor:
        """Return log p(x), shape ``(B,)``, from the last level."""
        return torch.logsumexp(top + self.log_root.unsqueeze(1), dim=(0, 2))

    def downward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Draw a tree, and the state of each of its pairs given what was observed.

        Args:
            levels: What `upward` returned.

        Returns:
            The tree of each observation, shape ``(B,)``, and the states, shape ``(B, N / 2)``.
        """
        n_states = self.log_root.shape[-1]
        root = (levels[-1] + self.log_root.unsqueeze(1)).transpose(0, 1).flatten(1)
        drawn = torch.distributions.Categorical(logits=root).sample()
        tree, states = drawn // n_states, (drawn % n_states).unsqueeze(-1)
        row = torch.arange(len(tree), device=tree.device).unsqueeze(-1)
        for weights, log_p in zip(reversed(self.weights), reversed(levels[:-1]), strict=True):
            states = states.repeat_interleave(2, dim=-1)
            n_parts = states.shape[-1]
            part = n_parts * tree.unsqueeze(-1) + torch.arange(n_parts, device=tree.device)
            log_weights = weights.log()[part, :, states]
            logits = log_weights + log_p[part, row]
            states = torch.distributions.Categorical(logits=logits).sample()
        return tree, states

    def information(self, tree: int) -> list[Tensor]:
        """Return the mutual information of the states of each part and its region in a tree.

        In nats, float64, for each level from the pairs on; shape ``(parts,)``.
        """
        region = self.log_root[tree].double().softmax(0).unsqueeze(0)
        found = []
        for all_weights in reversed(self.weights):
            weights = all_weights.double().unflatten(0, (len(self.log_root), -1))[tree]
            joint = weights * region.repeat_interleave(2, dim=0).unsqueeze(1)
            part = joint.sum(-1)
            found.append(torch.xlogy(joint, weights / part.unsqueeze(-1)).sum((1, 2)))
            region = part
        return found[::-1]
