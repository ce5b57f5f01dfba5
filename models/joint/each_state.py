"""Conditionals of models that have nothing but log-probabilities: by trying every state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def leave_one_out_by_trying(
    log_prob: Callable[[Tensor], Tensor], values: Tensor, n_states: int
) -> Tensor:
    r"""Return the log-probability of each value given all others, by trying all of its states.

    .. math:: \log p(x_d | x_{-d}) = \log p(x) - \log \sum_{s < K} p(x_1, ..., x_d = s, ..., x_G)

    Args:
        log_prob: From values ``(*shape, G)`` to log-probabilities ``shape``.
        values: Dense, shape ``(B, G)``.
        n_states: Number ``K`` of states, 0, 1, ..., ``K-1``.

    Returns:
        Nats, shape ``(B, G)``.
    """
    states = torch.arange(n_states, dtype=values.dtype, device=values.device).unsqueeze(-1)
    totals = []
    for feature in range(values.shape[-1]):
        tried = values.repeat(n_states, 1, 1)
        tried[..., feature] = states
        totals.append(log_prob(tried).logsumexp(0))
    return log_prob(values).unsqueeze(-1) - torch.stack(totals, dim=-1)
