"""Regions of features: balanced binary trees over all of them, at random or learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Of the logarithm of each weight, so that repetitions differ.
NOISE = 0.3


def n_positions(n_features: int) -> int:
    """Return the number of leaves of a balanced binary tree: a power of 2, from 2 on."""
    return 2 ** max(1, math.ceil(math.log2(n_features)))


def random_order(n_features: int) -> Tensor:
    """Return the features in random order, as `learnt_order` does."""
    return torch.randperm(n_positions(n_features))


def learnt_order(weights: Tensor) -> Tensor:
    """Return the features in an order whose neighbours have much to do with each other.

    Features are matched in pairs, those with the largest weight first, pairs in fours, and so on:
    the groups are the regions of a balanced binary tree. The weight of two groups is the sum over
    their features. Weights are perturbed at random, by about a third.

    Args:
        weights: How much each two of ``G`` features have to do with each other, symmetric and not
            negative, shape ``(G, G)``.

    Returns:
        A permutation of ``0..N-1``, where ``N`` is the power of 2 that follows ``G``; positions
        of ``G`` and more are empty.
    """
    n_features, n = len(weights), n_positions(len(weights))
    padded = weights.new_zeros(n, n)
    padded[:n_features, :n_features] = weights
    noise = torch.randn_like(padded).triu(1)
    # the second term breaks the ties of empty positions
    padded = padded * (NOISE * (noise + noise.T)).exp() + 1e-9 * (noise + noise.T).abs()
    groups = torch.arange(n, device=weights.device).unsqueeze(-1)
    while len(groups) > 1:
        pairs = _matching(padded)
        groups = groups[pairs].flatten(1)
        padded = padded[pairs].sum(1)[:, pairs].sum(-1)
    return groups[0]


def _matching(weights: Tensor) -> Tensor:
    """Match all of an even number in pairs, greedily by weight; returns ``(n / 2, 2)``.

    Two whose weight is the largest of both are a pair of the greedy matching, whatever else is.
    """
    free = torch.arange(len(weights), device=weights.device)
    pairs = []
    while len(free):
        among = weights[free][:, free].fill_diagonal_(-torch.inf)
        best = among.argmax(1)
        place = torch.arange(len(free), device=free.device)
        first = (best[best] == place) & (place < best)
        pairs.append(torch.stack([free[first], free[best[first]]], dim=-1))
        taken = first.clone()
        taken[best[first]] = True
        free = free[~taken]
    return torch.cat(pairs)
