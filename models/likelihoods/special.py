"""Differences of log-gamma functions that stay exact where each of the two is huge."""

from __future__ import annotations

import torch
from torch import Tensor


def log_rising(r: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The logarithm of the rising factorial and its derivative by ``r``.

    .. math:: \log (r)_x = \log\Gamma(r + x) - \log\Gamma(r),
              \qquad \frac{d}{dr} = \psi(r + x) - \psi(r).

    Subtracting two ``lgamma`` in float32 loses everything for large ``r`` (``lgamma(1e5)`` is
    about 1e6, where neighbouring floats lie 0.06 apart). Here the argument is shifted to
    ``t = r + 4`` by the recurrence of the gamma function, and at ``t`` the difference of the two
    Stirling series is taken term by term:

    .. math:: (t - \tfrac12) \log(1 + x/t) + x \log(t + x) - x + c(t + x) - c(t),
              \quad c(t) = \tfrac{1}{12 t} - \tfrac{1}{360 t^3} + \tfrac{1}{1260 t^5}.

    Args:
        r: Positive numbers, shape broadcastable to that of ``x``.
        x: Counts, 0 or more.

    Returns:
        The value in nats and its derivative by ``r``.
    """
    t, u = r + 4, r + x + 4
    it, iu = t.reciprocal(), u.reciprocal()
    it2, iu2 = it * it, iu * iu
    growth = torch.log1p(x * it)
    value = (t - 0.5) * growth + x * (torch.log(u) - 1)
    value += _series(iu, iu2) - _series(it, it2)
    slope = growth + 0.5 * (it - iu) + _series_slope(it2) - _series_slope(iu2)
    # the shift: prod_{i<4} (r + i) / (r + x + i), as two factors so that float32 holds them
    low, high = r * (r + 3), (r + 1) * (r + 2)
    v = r + x
    low_x, high_x = v * (v + 3), (v + 1) * (v + 2)
    value += torch.log(low / low_x) + torch.log(high / high_x)
    slope += (2 * r + 3) * (low.reciprocal() + high.reciprocal())
    slope -= (2 * v + 3) * (low_x.reciprocal() + high_x.reciprocal())
    return value, slope


def _series(inverse: Tensor, inverse_squared: Tensor) -> Tensor:
    """``c(t)`` at ``1 / t``."""
    return inverse * (1 / 12 - inverse_squared * (1 / 360 - inverse_squared / 1260))


def _series_slope(inverse_squared: Tensor) -> Tensor:
    """``-c'(t)`` at ``1 / t**2``."""
    return inverse_squared * (1 / 12 - inverse_squared * (1 / 120 - inverse_squared / 252))
