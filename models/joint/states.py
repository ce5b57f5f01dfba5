"""Counts given their state: 0, 1, ... exactly, the last state being "K-1 or more"."""

from __future__ import annotations

import torch
from torch import Tensor

from vae4counts.models.likelihoods.distribution import CountDistribution
from vae4counts.models.likelihoods.negative_binomial import NEGATIVE_BINOMIAL, gamma_rate
from vae4counts.models.likelihoods.sparse import Family, Terms

# In place of the logarithm of 0, whose gradient would be lost: what is left of it is invisible in
# float32, and what other features say of a state still comes through.
IMPOSSIBLE = -60.0


def _certain(is_so: Tensor) -> Tensor:
    """Return the log-probability of what is certain or impossible."""
    return torch.where(is_so, 0.0, IMPOSSIBLE)


def _zero(state: Tensor, last: Tensor, *tail: Tensor) -> Terms:
    """Return ``log p(0)``, which the tail has no part in."""
    value = _certain(state == 0).to(state.dtype) + torch.zeros_like(last)
    nothing = state.new_zeros(())
    return value, (nothing,) * (2 + len(tail))


def _lumped_ratio(x: Tensor, state: Tensor, last: Tensor) -> Terms:
    here = _certain(torch.minimum(x, last) == state)
    nothing = state.new_zeros(())
    return (here - _certain(state == 0)).to(state.dtype), (nothing, nothing)


def _tailed_ratio(x: Tensor, state: Tensor, last: Tensor, mean: Tensor, r: Tensor) -> Terms:
    """Add the negative binomial of the rest to the log-probability of the last state."""
    value, nothing = _lumped_ratio(x, state, last)
    rest = (x - last).clamp_min(0)
    is_above, in_tail = rest > 0, (x >= last) & (state == last)
    log_zero, zero_slopes = NEGATIVE_BINOMIAL.zero(mean, r)
    log_ratio, ratio_slopes = NEGATIVE_BINOMIAL.ratio(rest.clamp_min(1), mean, r)
    beyond = torch.where(in_tail, log_zero + torch.where(is_above, log_ratio, 0.0), 0.0)
    slopes = (
        torch.where(in_tail, zero + torch.where(is_above, ratio, 0.0), 0.0)
        for zero, ratio in zip(zero_slopes, ratio_slopes, strict=True)
    )
    return value + beyond, (*nothing, *slopes)


LUMPED = Family(_zero, _lumped_ratio)
TAILED = Family(_zero, _tailed_ratio)


class LumpedStates(CountDistribution):
    """Counts given their states, where all counts of the last state are one class.

    Args:
        state: The state of each count, shape ``(*batch, G)``.
        last: The last state ``K-1``, shape ``(1,)``.
    """

    family = LUMPED

    @property
    def mean(self) -> Tensor:
        """The states."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Zeros: a state is a count."""
        return torch.zeros_like(self.mean)

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.parameters[0].expand(shape).clone()


class TailedStates(CountDistribution):
    """Counts given their states, with a negative binomial rest beyond the last one.

    Args:
        state: The state of each count, shape ``(*batch, G)``.
        last: The last state ``K-1``, shape ``(1,)``.
        mean: Expected rest of a count in the last state, shape ``(G,)``.
        inverse_dispersion: Of that rest, shape ``(G,)``; 1 for a geometric distribution.
    """

    family = TAILED

    @property
    def mean(self) -> Tensor:
        """The states, and the expected rest of the last one."""
        state, last, rest, _ = self.parameters
        return (state + rest * (state == last)).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Zero but for the last state."""
        state, last, rest, r = self.parameters
        spread = (rest + rest**2 / r) * (state == last)
        return spread.expand(self.batch_shape + self.event_shape)

    def _draw(self, shape: torch.Size) -> Tensor:
        state, last, rest, r = self.parameters
        return state + torch.poisson(gamma_rate(rest, r, shape)) * (state == last)
