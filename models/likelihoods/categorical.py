"""The categorical likelihood: a class for each count, the last one for all larger counts."""

from __future__ import annotations

import torch
from torch import Tensor

from vae4counts.models.numerics import at_least_float32

from .base import Likelihood
from .distribution import CountDistribution
from .sparse import Family, Terms


def _zero(*log_p: Tensor) -> Terms:
    """Return ``log p_0``."""
    one, nothing = log_p[0].new_ones(()), log_p[0].new_zeros(())
    return log_p[0], (one, *(nothing for _ in log_p[1:]))


def _ratio(x: Tensor, *log_p: Tensor) -> Terms:
    """Return ``log p_x - log p_0``, with the last class for all larger counts."""
    classes = x.clamp_max(len(log_p) - 1)
    value, slopes = torch.zeros_like(log_p[0]), []
    for k, log_p_k in enumerate(log_p):
        value = torch.where(classes == k, log_p_k, value)
        slopes.append((classes == k).to(x.dtype))
    slopes[0] = slopes[0] - 1
    return value - log_p[0], tuple(slopes)


CATEGORICAL = Family(zero=_zero, ratio=_ratio)


class CategoricalCounts(CountDistribution):
    """Independent counts in ``0..K-1``, where ``K-1`` stands for "K-1 or more".

    Args:
        log_probabilities: Shape ``(*batch, K, G)``, normalised over ``K``.
        validate_args: See `CountDistribution`.
    """

    family = CATEGORICAL

    def __init__(self, log_probabilities: Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(*log_probabilities.unbind(-2), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """Expected class: the expected count if no count is larger than the last class."""
        return self._moment(1).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Variance of the class."""
        spread = self._moment(2) - self._moment(1) ** 2
        return spread.expand(self.batch_shape + self.event_shape)

    def _moment(self, power: int) -> Tensor:
        moment = torch.zeros_like(self.parameters[0])
        for k, log_p in enumerate(self.parameters):
            moment = moment + k**power * log_p.exp()
        return moment

    def _draw(self, shape: torch.Size) -> Tensor:
        logits = torch.stack(list(self.parameters), dim=-1).expand(*shape, -1)
        return torch.distributions.Categorical(logits=logits).sample().to(logits.dtype)


class Categorical(Likelihood):
    """A class for each count: 0, 1, ..., and "K-1 or more" (the k-max idea of scVAE).

    The library size is ignored: the decoder gives the probabilities of the classes directly.

    Args:
        n_classes: Number ``K`` of classes.

    Raises:
        ValueError: There are fewer than two classes.
    """

    reads_rates = False
    comparable_per_output = None

    def __init__(self, n_classes: int = 4) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}: it must be 2 or more")
        self.n_classes = n_classes
        self.lumped_from = n_classes - 1
        self.outputs_per_feature = n_classes

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`: the classes of a Poisson of the same mean."""
        classes = torch.arange(self.n_classes, dtype=mean.dtype, device=mean.device)
        return (classes[:, None] * mean.log() - torch.lgamma(classes + 1)[:, None]).flatten()

    def forward(self, outputs: Tensor, library: Tensor | None) -> CategoricalCounts:  # noqa: ARG002
        """See `Likelihood.forward`."""
        logits = at_least_float32(outputs).unflatten(-1, (self.n_classes, -1))
        return CategoricalCounts(torch.log_softmax(logits, dim=-2))
