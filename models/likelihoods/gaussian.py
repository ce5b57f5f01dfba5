"""The Gaussian likelihood of real values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vae4counts.data.counts.support import REAL

from .base import NO_LEVELS, Likelihood
from .distribution import DenseDistribution

HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
# Bounds of the logarithm of the standard deviation, in units of the training data's: about 1e-3 (a
# feature that the latents explain completely would have an infinite density) to 1e3.
LOG_SCALE_BOUND = 7.0
# A standard deviation below this fraction of the mean is a rounding error of float32.
ROUNDING_ERROR = 1e-6


class GaussianValues(DenseDistribution):
    """Independent Gaussian values, some of which may be missing.

    Args:
        loc: Means, shape ``(*batch, G)``.
        scale: Standard deviations, broadcastable to the means.
    """

    accepts = REAL

    @property
    def mean(self) -> Tensor:
        """Means."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Squared standard deviations."""
        return self.parameters[1].square().expand(self.batch_shape + self.event_shape)

    def _log_density(self, values: Tensor, *parameters: Tensor) -> Tensor:
        loc, scale = parameters
        return -0.5 * ((values - loc) / scale).square() - scale.log() - HALF_LOG_2_PI

    def _draw(self, shape: torch.Size) -> Tensor:
        loc, scale = self.parameters
        return loc + scale * torch.randn(shape, dtype=loc.dtype, device=loc.device)


class Gaussian(Likelihood):
    r"""Real values, ``x_j ~ N(m_j, s_j^2)``, some of which may be missing.

    .. math:: m_j = c_j + d_j\, \mathrm{output}_j, \qquad s_j = d_j e^{t_j}

    with the mean ``c_j`` and standard deviation ``d_j`` of the feature in the training data: the
    decoder and ``t_j`` do not depend on units, as if values were standardised, but densities are
    of the values themselves. A missing entry is left out: it adds 0 to the log-density.

    Args:
        scale: The extent of ``t``: "shared", "feature" or "observation".
        by: The name of a categorical covariate each level of which has its own ``t``; None for one
            for all.
    """

    support = REAL
    inputs = "standardised"
    comparable_per_output = 1.0
    centre: Tensor
    spread: Tensor

    def __init__(self, scale: str = "feature", by: str | None = None) -> None:
        super().__init__()
        self.scale, self.by = scale, by
        self.declare("scale", scale)

    def build(self, n_features: int, n_levels: Mapping[str, int] = NO_LEVELS) -> None:
        """See `Likelihood.build`."""
        super().build(n_features, n_levels)
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))

    @torch.no_grad()
    def start(self, values: Tensor) -> Tensor:
        """See `Likelihood.start`: the units are the means and standard deviations of features."""
        dense = (values if values.layout == torch.strided else values.to_dense()).double()
        centre = dense.nanmean(0)
        spread = (dense - centre).square().nanmean(0).sqrt()
        # a feature of one value, or of none, has no unit of its own
        varies = spread > ROUNDING_ERROR * centre.abs()
        self.centre.copy_(centre.nan_to_num(0.0))
        self.spread.copy_(torch.where(varies, spread, 1.0))
        return self.initial_outputs(self.centre)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`."""
        standard = (mean - self.centre) / self.spread
        return torch.cat([standard, mean.new_zeros((self.outputs_per_feature - 1) * len(mean))])

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:  # noqa: ARG002
        """See `Likelihood.comparable`: standard deviations of the training data."""
        return means / self.spread.to(means)

    def forward(self, outputs: Tensor, library: Tensor | None) -> GaussianValues:  # noqa: ARG002
        """See `Likelihood.forward`."""
        loc, log_scale = self.split(outputs)
        scale = self.spread * log_scale.clamp(-LOG_SCALE_BOUND, LOG_SCALE_BOUND).exp()
        return GaussianValues(self.centre + self.spread * loc, scale)
