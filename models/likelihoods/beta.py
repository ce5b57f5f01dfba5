"""The beta likelihood of shares, such as methylation."""

from __future__ import annotations

import torch
from torch import Tensor

from vae4counts.data.counts.support import SHARES

from .base import Likelihood
from .bernoulli import SMALLEST_SHARE, log2_odds
from .distribution import DenseDistribution

# Bounds of the logarithm of the concentration: 0.01 (nearly all of it at 0 and 1) to 1,000 (a
# standard deviation of 0.016 about a half). The start is 10.
LOG_CONCENTRATION_MIN, LOG_CONCENTRATION_MAX = -4.6, 6.9
INITIAL_LOG_CONCENTRATION = 2.3
# Means are no closer than this to 0 and 1, where log-gammas of the parameters have their poles.
MEAN_MARGIN = 1e-5


class BetaValues(DenseDistribution):
    r"""Independent beta values, known to a resolution ``e``, some of which may be missing.

    With ``a = c m`` and ``b = c (1 - m)``, the log-density of values between ``e`` and ``1 - e`` is

    .. math:: (a - 1) \log x + (b - 1) \log(1 - x) - \log B(a, b),

    which at 0 and 1 would be infinite, or minus infinity. A value below ``e`` says only that it is
    below: its density is the average ``P(x < e) / e`` over that interval (interval censoring), and
    likewise above ``1 - e``. So the densities of all values integrate to 1, and those at 0 and 1
    are bounded by ``1 / e``. The integral from 0 to ``e`` is that of the Gauss-Jacobi rule with one
    node, ``x = e a / (a + 1)``, whose relative error is at most ``0.05 (b e)**2``.

    Args:
        mean: ``m``, shape ``(*batch, G)``.
        concentration: ``c``, broadcastable to the mean; the variance is ``m (1 - m) / (1 + c)``.
        resolution: ``e``.
        validate_args: See `FeatureDistribution`.
    """

    accepts = SHARES

    def __init__(
        self,
        mean: Tensor,
        concentration: Tensor,
        resolution: float = 1e-3,
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(
            mean, concentration, mean.new_tensor([resolution]), validate_args=validate_args
        )

    @property
    def mean(self) -> Tensor:
        """``m``."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``m (1 - m) / (1 + c)``."""
        return self.mean * (1 - self.mean) / (1 + self.parameters[1])

    def _log_density(self, values: Tensor, *parameters: Tensor) -> Tensor:
        mean, concentration, e = parameters
        a, b = concentration * mean, concentration * (1 - mean)
        low, high = values < e, values > 1 - e
        # the censored intervals by one node each; the mass x**(a - 1) from 0 to e is e**a / a
        x = torch.where(low, e, values.clamp(max=1 - e))
        rest = torch.where(high, e, 1 - x)
        by_x = torch.where(high, torch.log1p(-e * b / (b + 1)), x.log())
        by_rest = torch.where(low, torch.log1p(-e * a / (a + 1)), rest.log())
        tails = torch.where(low, a.log(), 0.0) + torch.where(high, b.log(), 0.0)
        log_beta = a.lgamma() + b.lgamma() - (a + b).lgamma()
        return (a - 1) * by_x + (b - 1) * by_rest - tails - log_beta

    def _draw(self, shape: torch.Size) -> Tensor:
        mean, concentration, _ = (parameter.expand(shape) for parameter in self.parameters)
        gammas = torch._standard_gamma(
            torch.stack([concentration * mean, concentration * (1 - mean)])
        )
        return gammas[0] / gammas.sum(0).clamp_min(torch.finfo(mean.dtype).tiny)


class Beta(Likelihood):
    r"""Shares between 0 and 1, ``x_j ~ Beta(c_j m_j, c_j (1 - m_j))``.

    Some may be missing. The decoder's outputs are the logits of the means ``m``, and ``c`` is the
    concentration, also called the precision (Ferrari and Cribari-Neto 2004). Values of exactly 0
    and 1, which a beta distribution does not have, count as values that are known to be within
    ``resolution`` of these: see `BetaValues`. Unlike squeezing values into the interval (Smithson
    and Verkuilen 2006), this leaves the others as they are and does not depend on how many
    observations there are.

    Args:
        concentration: The extent of ``c``: "shared", "feature" or "observation".
        resolution: Below it, and above 1 minus it, values are not told apart.
        by: The name of a categorical covariate each level of which has its own ``c``; None for one
            for all.

    Raises:
        ValueError: The resolution is not between 0 and a half.
    """

    support = SHARES
    inputs = "standardised"

    def __init__(
        self, concentration: str = "feature", resolution: float = 1e-3, by: str | None = None
    ) -> None:
        super().__init__()
        if not 0 < resolution < 0.5:
            raise ValueError(f"resolution is {resolution}: it must be between 0 and 0.5")
        self.concentration, self.resolution, self.by = concentration, resolution, by
        self.declare("concentration", concentration)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`."""
        logits = torch.logit(mean, eps=SMALLEST_SHARE)
        return torch.cat([logits, mean.new_zeros((self.outputs_per_feature - 1) * len(mean))])

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:  # noqa: ARG002
        """See `Likelihood.comparable`: log2 odds."""
        return log2_odds(means)

    def forward(self, outputs: Tensor, library: Tensor | None) -> BetaValues:  # noqa: ARG002
        """See `Likelihood.forward`."""
        logits, log_concentration = self.split(outputs)
        mean = torch.sigmoid(logits) * (1 - 2 * MEAN_MARGIN) + MEAN_MARGIN
        log_c = log_concentration + INITIAL_LOG_CONCENTRATION
        concentration = log_c.clamp(LOG_CONCENTRATION_MIN, LOG_CONCENTRATION_MAX).exp()
        return BetaValues(mean, concentration, self.resolution)
