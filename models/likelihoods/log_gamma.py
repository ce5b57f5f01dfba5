r"""Log-gamma functions of counts that do not suffer from cancellation.

``lgamma(1e6)`` is about 1.3e7, where neighbouring float32 numbers are 1 apart: the difference of
two such terms is noise. The formulas here start from

.. math:: \log\Gamma(z) = (z - \tfrac12) \log t - t + \tfrac12 \log 2\pi + c(t) - \log\rho(z),
          \quad t = z + 4, \quad \rho(z) = z (z + 1) (z + 2) (z + 3) / t^4,

in which the large terms are elementary, so that they can be cancelled by hand, and ``c`` and
``rho`` are small: ``c`` is Stirling's series at ``t``, and ``rho`` corrects for the shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SHIFT = 4
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# c(t) = sum_k C[k] / t**(2k + 1): Stirling's series with coefficients fitted for t >= 4 (t c(t)
# interpolated at the Chebyshev nodes of 1 / t**2 in (0, 1/16)), as many as the type resolves. The
# errors are 9e-8 and 2e-14.
C_FLOAT32 = (0.0833329627155, -0.0027300710102)
C_FLOAT64 = (
    0.0833333333332407788,
    -0.00277777767080319298,
    0.000793630483757832456,
    -0.000593801734308329495,
    0.000794275141999758976,
    -0.00113399114518721337,
)


def log_poisson_ratio(x: Tensor, mean: Tensor) -> Tensor:
    r"""Return ``x log m - log x!``, the logarithm of ``p(x) / p(0)`` for a Poisson of mean ``m``.

    .. math:: x \log(m / w) + w - \tfrac12 \log(2 \pi) - c(w) + \log(\rho(x + 1) / \sqrt w),
              \qquad w = x + 5.

    No term is larger than ``x`` or the value itself.
    """
    at_w = _Shifted(x + 1)
    value = torch.log(at_w.ratio().mul_(at_w.inverse.sqrt()))
    value.sub_(at_w.series()).add_(x).add_(1 + SHIFT - HALF_LOG_2PI)
    return value + x * torch.log(mean * at_w.inverse)


def log_choose(r: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the logarithm of the binomial coefficient ``r + x - 1`` over ``x`` for a real ``r``.

    With ``t = r + 4``, ``w = x + 5`` and ``u = r + x + 4``,

    .. math:: \log\frac{\Gamma(r + x)}{\Gamma(r)\, x!}
              &= (r - \tfrac12) \log(1 + x / t) + (x + \tfrac12) \log(1 + (r - 1) / w)
                 + 5 - \tfrac12 \log 2\pi \\
              &\quad + c(u) - c(t) - c(w)
                 + \log\frac{\rho(r)\, \rho(x + 1)}{\rho(r + x) \sqrt u}, \\
              \frac{d}{dr} = \psi(r + x) - \psi(r)
              &= \log(1 + x / t) + \sigma(r) - \sigma(r + x).

    Up to a logarithm, no term is larger than the smaller of ``r`` and ``x``.

    Args:
        r: Positive numbers, shape broadcastable to that of ``x``.
        x: Counts, 0 or more.

    Returns:
        The value in nats and its derivative by ``r``.
    """
    at = _Shifted(x + 1)
    value = (x + 0.5) * ((r - 1) * at.inverse).log1p_()
    value.sub_(at.series()).add_(1 + SHIFT - HALF_LOG_2PI)
    ratio = at.ratio()
    at = _Shifted(r)
    slope = (x * at.inverse).log1p_()
    value.addcmul_(r - 0.5, slope).sub_(at.series())
    slope.add_(at.slope())
    ratio = ratio * at.ratio()
    at = _Shifted(r + x)
    value.add_(at.series())
    slope.sub_(at.slope())
    ratio.div_(at.ratio()).mul_(at.inverse.sqrt_())
    return value.add_(ratio.log_()), slope


class _Shifted:
    """The parts of ``log Gamma(z)`` with ``t = z + 4``."""

    def __init__(self, z: Tensor) -> None:
        self.z = z
        self.inverse = (z + SHIFT).reciprocal_()
        self.square = self.inverse * self.inverse
        self.outer = z * (z + 3)  # (z + 1) (z + 2) is 2 more
        self.product = (self.outer + 2).mul_(self.outer)
        self.coefficients = C_FLOAT64 if z.dtype == torch.float64 else C_FLOAT32

    def ratio(self) -> Tensor:
        """Return ``rho(z)``."""
        return (self.square * self.square).mul_(self.product)

    def series(self) -> Tensor:
        """Return ``c(t)``."""
        return _polynomial(self.square, self.coefficients).mul_(self.inverse)

    def slope(self) -> Tensor:
        """Return ``sigma(z) = 1 / (2t) - c'(t) + sum_i 1 / (z + i)``."""
        derivatives = [(2 * k + 1) * c for k, c in enumerate(self.coefficients)]
        value = (4 * self.z + 6).mul_(self.outer + 1).div_(self.product)
        value.addcmul_(self.square, _polynomial(self.square, derivatives))
        return value.add_(self.inverse, alpha=0.5)


def _polynomial(y: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return ``sum_k coefficients[k] y**k`` by Horner's rule."""
    *lower, last = coefficients
    value = y * last
    for coefficient in lower[:0:-1]:
        value.add_(coefficient).mul_(y)
    return value.add_(lower[0])
