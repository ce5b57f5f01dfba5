"""The categorical likelihood: one class a count, the last for all that is larger."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from .base import CountDistribution, Likelihood
from .nonzeros import NonZeros


class CategoricalCounts(CountDistribution):
    """Independent counts in ``0..K-1``, where ``K-1`` stands for "K-1 or more".

    Args:
        log_probabilities: Shape ``(*batch, K, G)``, normalised over ``K``.
        validate_args: See `CountDistribution`.
    """

    def __init__(self, log_probabilities: Tensor, *, validate_args: bool | None = None) -> None:
        self.parameters = (log_probabilities,)
        TorchDistribution.__init__(
            self,
            log_probabilities.shape[:-2],
            log_probabilities.shape[-1:],
            validate_args=validate_args,
        )

    @property
    def mean(self) -> Tensor:
        """Expected class: the expected count where the last class is never "or more"."""
        return self._moment(1).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Variance of the class."""
        spread = self._moment(2) - self._moment(1) ** 2
        return spread.expand(self.batch_shape + self.event_shape)

    def _moment(self, power: int) -> Tensor:
        (log_p,) = self.parameters
        classes = torch.arange(log_p.shape[-2], dtype=log_p.dtype, device=log_p.device)
        return torch.einsum("k,...kg->...g", classes**power, log_p.exp())

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        (log_p,) = parameters
        n_classes, n_features = log_p.shape[-2:]
        zero = log_p[..., 0, :]
        classes = counts.values.long().clamp_max(n_classes - 1)
        index = classes * n_features + counts.columns
        if log_p.shape[-3] != 1:
            index = index + counts.rows * (n_classes * n_features)
        at_entries = log_p.flatten(-3).index_select(-1, index)
        return zero.sum(-1) + counts.row_sum(at_entries - counts.gather(zero))

    def _rows(self, parameter: Tensor, batch_shape: torch.Size) -> Tensor:
        return parameter.expand(*batch_shape, -1, -1).reshape(-1, *parameter.shape[-2:])

    def _draw(self, shape: torch.Size) -> Tensor:
        (log_p,) = self.parameters
        n_classes = log_p.shape[-2]
        logits = log_p.transpose(-1, -2).expand(*shape, n_classes)
        return torch.distributions.Categorical(logits=logits).sample().to(log_p.dtype)


class Categorical(Likelihood):
    """One class a count: 0, 1, ..., and "K-1 or more" (the k-max idea of scVAE).

    The library size plays no part: the decoder sees the probabilities of the classes themselves.

    Args:
        n_classes: ``K``, 2 or more.
    """

    def __init__(self, n_classes: int = 4) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}: it must be 2 or more")
        self.n_classes = n_classes
        self.outputs_per_feature = n_classes

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """See `Likelihood.initial_outputs`: the classes of a Poisson of this mean."""
        classes = torch.arange(self.n_classes, dtype=mean.dtype, device=mean.device)
        return (classes[:, None] * mean.log() - torch.lgamma(classes + 1)[:, None]).flatten()

    def forward(self, outputs: Tensor, library: Tensor | None) -> CategoricalCounts:  # noqa: ARG002
        """See `Likelihood.forward`."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        logits = outputs.unflatten(-1, (self.n_classes, -1))
        return CategoricalCounts(torch.log_softmax(logits, dim=-2))
