"""Negative binomial counts above a background: the likelihood of surface proteins."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .base import LARGEST_LOG_RATE, SMALLEST_RATE, Likelihood, rates
from .distribution import CountDistribution
from .negative_binomial import NEGATIVE_BINOMIAL, gamma_rate, inverse_dispersion
from .sparse import Family, Terms

# A background starts at this quantile of a feature's counts, within these shares of their mean.
START_QUANTILE = 0.25
START_SHARES = 0.1, 0.5
SMALLEST_START = 0.01


def _mixture(gate: Tensor, background: Terms, foreground: Terms) -> Terms:
    r"""Return ``log[p e^u + (1 - p) e^v]`` with ``p = sigmoid(gate)``, and its derivatives.

    Args:
        gate: The logit of the background's share ``p``.
        background: ``u``, a function of the background's mean and ``r``, with its derivatives.
        foreground: ``v``, a function of the mean ``b + m`` and ``r``, with its derivatives.

    Returns:
        The value, and its derivatives by the gate, ``m``, ``b`` and ``r``.
    """
    (u, (u_by_mean, u_by_r)), (v, (v_by_mean, v_by_r)) = background, foreground
    value = torch.logaddexp(logsigmoid(gate) + u, logsigmoid(-gate) + v)
    is_background, is_foreground = torch.sigmoid(gate + u - v), torch.sigmoid(v - u - gate)
    by_signal = is_foreground * v_by_mean
    by_r = is_background * u_by_r + is_foreground * v_by_r
    return value, (
        is_background - torch.sigmoid(gate),
        by_signal,
        is_background * u_by_mean + by_signal,
        by_r,
    )


def _zero(gate: Tensor, signal: Tensor, background: Tensor, r: Tensor) -> Terms:
    base = NEGATIVE_BINOMIAL
    return _mixture(gate, base.zero(background, r), base.zero(background + signal, r))


def _ratio(x: Tensor, gate: Tensor, signal: Tensor, background: Tensor, r: Tensor) -> Terms:
    at_x = (_log_prob(x, mean, r) for mean in (background, background + signal))
    value, slopes = _mixture(gate, *at_x)
    zero, zero_slopes = _zero(gate, signal, background, r)
    return value - zero, tuple(a - b for a, b in zip(slopes, zero_slopes, strict=True))


def _log_prob(x: Tensor, mean: Tensor, r: Tensor) -> Terms:
    """Return the log-probability of negative binomial counts, and its derivatives."""
    zero, zero_slopes = NEGATIVE_BINOMIAL.zero(mean, r)
    ratio, ratio_slopes = NEGATIVE_BINOMIAL.ratio(x, mean, r)
    return zero + ratio, tuple(a + b for a, b in zip(zero_slopes, ratio_slopes, strict=True))


NEGATIVE_BINOMIAL_BACKGROUND = Family(zero=_zero, ratio=_ratio)


class NegativeBinomialBackgroundCounts(CountDistribution):
    r"""Independent counts of a background, or of a signal above it.

    .. math:: p(x) = p\, \mathrm{NB}(x \mid b, r) + (1 - p)\, \mathrm{NB}(x \mid b + m, r)

    Args:
        gate: Logit of the background's share ``p``, broadcastable to the signal.
        signal: ``m``, shape ``(*batch, G)``.
        background: ``b``, broadcastable to the signal.
        inverse_dispersion: ``r``, broadcastable to the signal.
    """

    family = NEGATIVE_BINOMIAL_BACKGROUND

    @property
    def mean(self) -> Tensor:
        """``b + (1 - p) m``."""
        gate, signal, background, _ = self.parameters
        mean = background + torch.sigmoid(-gate) * signal
        return mean.expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """The mean of the variances ``u + u**2 / r``, and the variance of the means ``u``."""
        gate, signal, background, r = self.parameters
        p, foreground = torch.sigmoid(gate), background + signal
        squares = p * background**2 + (1 - p) * foreground**2
        variance = self.mean + squares / r + p * (1 - p) * signal**2
        return variance.expand(self.batch_shape + self.event_shape)

    def foreground_probability(self, value: Tensor) -> Tensor:
        """Return the probability that each count is not of the background alone.

        Args:
            value: Counts, CSR or dense, shape ``(*batch, G)``.

        Returns:
            Shape ``(*batch, G)``.
        """
        gate, signal, background, r = self.parameters
        x = (value if value.layout == torch.strided else value.to_dense()).to(signal.dtype)
        u, v = (_log_prob(x, mean, r)[0] for mean in (background, background + signal))
        return torch.sigmoid(v - u - gate)

    def _draw(self, shape: torch.Size) -> Tensor:
        gate, signal, background, r = self.parameters
        is_foreground = torch.bernoulli(torch.sigmoid(-gate).expand(shape))
        return torch.poisson(gamma_rate(background + is_foreground * signal, r, shape))


class NegativeBinomialBackground(Likelihood):
    r"""Counts of a background, or of a signal above it, such as those of surface proteins.

    .. math:: x_j \sim p_j\, \mathrm{NB}(b_j, r_j) + (1 - p_j)\, \mathrm{NB}(b_j + m_j, r_j)

    Antibodies that are not bound give every cell a background ``b_j``. The signal is
    ``m = library * softmax(outputs)``, or ``exp(outputs)`` without a library size, and the
    background's share ``p_j`` of each observation and feature is a decoder output. It is the
    mixture of totalVI (Gayoso et al. 2021), where the foreground is a multiple of the background,
    ``b (1 + a)`` with ``a = m / b``; its background is a latent variable of each cell, here one
    number for each feature by default. The `rates` are the expected signal, ``(1 - p) m``, without
    the background.

    Args:
        dispersion: The extent of ``r``: "shared", "feature" or "observation".
        background: The extent of ``b``.
        by: The name of a categorical covariate each level of which has its own ``r`` and ``b``,
            where these are no decoder outputs; None for one for all.
    """

    comparable_per_output = None  # the gate is an output too

    def __init__(
        self, dispersion: str = "feature", background: str = "feature", by: str | None = None
    ) -> None:
        super().__init__()
        self.dispersion, self.background, self.by = dispersion, background, by
        self.declare("dispersion", dispersion)
        self.declare("background", background)
        self.declare("gate", "observation")

    @torch.no_grad()
    def start(self, values: Tensor) -> Tensor:
        """See `Likelihood.start`: the background is at a low quantile of each feature's counts."""
        if "background" in self.own and len(values):
            dense = values if values.layout == torch.strided else values.to_dense()
            mean = dense.mean(0).clamp_min(SMALLEST_START)
            low, high = (mean * share for share in START_SHARES)
            level = dense.quantile(START_QUANTILE, dim=0).clamp(low, high).log()
            own = self.own["background"]
            own.copy_(level.mean() if own.shape[-1] == 1 else level)
        return super().start(values)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`: one half of the counts is background, if it is free."""
        outputs = {name: torch.zeros_like(mean) for name in self.extents if name not in self.own}
        if "background" in self.own:
            levels = self.own["background"].exp()
            background = levels.view(-1, levels.shape[-1]).mean(0).expand_as(mean)
        else:
            background = mean / 2
            outputs["background"] = background.log()
        signal = (2 * (mean - background)).maximum(0.1 * mean)
        return torch.cat([signal.log(), *outputs.values()])

    def rates(self, outputs: Tensor, library: Tensor | None) -> Tensor:
        """See `Likelihood.rates`: the expected signal, without the background."""
        rate, *_, gate = self.split(outputs)
        return rates(rate, library) * torch.sigmoid(-gate)

    def forward(self, outputs: Tensor, library: Tensor | None) -> NegativeBinomialBackgroundCounts:
        """See `Likelihood.forward`."""
        rate, log_r, log_background, gate = self.split(outputs)
        background = log_background.clamp(max=LARGEST_LOG_RATE).exp().clamp_min(SMALLEST_RATE)
        return NegativeBinomialBackgroundCounts(
            gate, rates(rate, library), background, inverse_dispersion(log_r)
        )
