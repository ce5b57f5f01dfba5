"""The base class of distributions of independent counts."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, TypeAlias, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from vae4counts.models.joint.distribution import NO_SHAPE, JointDistribution, dense_counts

from .nonzeros import NonZeros
from .sparse import Family, log_prob

Self = TypeVar("Self", bound="CountDistribution")
Shape: TypeAlias = torch.Size | list[int] | tuple[int, ...]

_broadcast = lru_cache(torch.broadcast_shapes)  # takes longer than a small batch's softmax


class CountDistribution(JointDistribution, abc.ABC):
    """A distribution over one observation's ``G`` counts, independent given the parameters.

    Args:
        parameters: Tensors that broadcast to ``(*batch_shape, G)``, in the order of the `family`'s.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    family: ClassVar[Family]

    def __init__(self, *parameters: Tensor, validate_args: bool | None = None) -> None:
        self.parameters: Sequence[Tensor] = parameters
        shape = _broadcast(*(parameter.shape for parameter in parameters))
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self: Self, batch_shape: Shape, _instance: Self | None = None) -> Self:
        """Expand the batch shape; the parameters stay as they are and broadcast lazily."""
        new = self._get_checked_instance(type(self), _instance)
        new.parameters = self.parameters
        TorchDistribution.__init__(
            new, torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each observation, in nats.

        Args:
            value: Counts: a sparse CSR tensor of shape ``(B, G)``, or a dense tensor of shape
                ``(*sample_shape, *batch_shape, G)``.

        Returns:
            Shape ``batch_shape``, broadcast with the batch shape of ``value``.

        Raises:
            ValueError: Values are checked, and are not whole numbers of 0 or more, or there are
                more or fewer of them than features.
        """
        if self._validate_args:
            self._validate_sample(value)
        shape = _broadcast(self.batch_shape, value.shape[:-1])
        value = value.to(self.parameters[0].dtype)
        if value.dim() == 2 and value.shape[:1] == shape[-1:]:
            return self._log_prob(NonZeros.of(value), self.parameters).expand(shape)
        # any other shape (samples, or one row of counts for many of parameters) as one long batch
        counts = NonZeros.of(dense_counts(value).expand(*shape, -1).reshape(-1, value.shape[-1]))
        rows = [self._rows(parameter, shape) for parameter in self.parameters]
        return self._log_prob(counts, rows).reshape(shape)

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        return log_prob(self.family, counts, *parameters)

    def _rows(self, parameter: Tensor, batch_shape: torch.Size) -> Tensor:
        """Return a parameter for a batch of this shape, as ``(rows or 1, G or 1)``."""
        if parameter.shape[:-1].numel() != 1:
            parameter = parameter.expand(*batch_shape, -1)
        return parameter.reshape(-1, parameter.shape[-1])

    @torch.no_grad()
    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        shape = (*self.batch_shape, self.event_shape[0])
        parameters = [parameter.expand(shape)[..., columns] for parameter in self.parameters]
        zero, _ = self.family.zero(*parameters)
        # a ratio is defined for counts above zero only
        counts = values.to(parameters[0].dtype).clamp_min(1).expand_as(parameters[0])
        ratio, _ = self.family.ratio(counts, *parameters)
        return zero + torch.where(values > 0, ratio, torch.zeros_like(ratio))

    @torch.no_grad()
    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`: the log-probability of each count on its own."""
        shape = _broadcast(self.batch_shape, values.shape[:-1])
        everywhere = torch.arange(self.event_shape[0], device=values.device)
        return self.expand(shape).log_prob_at(everywhere, dense_counts(values))

    def log_marginal(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """See `JointDistribution.log_marginal`."""
        present = torch.zeros_like(observed) if present is None else present
        # what is known of only some features is found at these alone
        columns = (observed | present).reshape(-1, self.event_shape[0]).any(0).nonzero().squeeze(1)
        counts, seen = dense_counts(values)[..., columns], observed[..., columns]
        shape = _broadcast(self.batch_shape, counts.shape[:-1])
        known = self.expand(shape)
        found = torch.where(seen, known.log_prob_at(columns, counts), 0.0)
        if present.any():
            zero = known.log_prob_at(columns, torch.zeros_like(counts))
            here = torch.log(-torch.expm1(zero))
            found = torch.where(present[..., columns] & ~seen, here, found)
        return found.sum(-1)

    @torch.no_grad()
    def expected_given(
        self,
        values: Tensor,
        observed: Tensor,  # noqa: ARG002
        present: Tensor | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """See `JointDistribution.expected_given`: other counts tell nothing."""
        shape = _broadcast(self.batch_shape, values.shape[:-1])
        expected = self.mean.expand(*shape, -1)
        everywhere = torch.arange(self.event_shape[0], device=expected.device)
        zero = self.log_prob_at(everywhere, expected.new_zeros(len(everywhere)))
        return expected, -torch.expm1(zero).expand(*shape, -1)

    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: Shape = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`: other counts tell nothing."""
        shape = _broadcast(self.batch_shape, values.shape[:-1])
        drawn = self.expand(shape).sample(sample_shape)
        return torch.where(observed, dense_counts(values).to(drawn), drawn)

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return self._draw(shape)

    @abc.abstractmethod
    def _draw(self, shape: torch.Size) -> Tensor:
        """Draw counts of this shape; called without gradients."""

    def _validate_sample(self, value: Tensor) -> None:
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"counts of {value.shape[-1]} features were given to a distribution over "
                f"{self.event_shape[0]} features"
            )
        entries = value if value.layout == torch.strided else value.values()
        if not bool(((entries >= 0) & (entries % 1 == 0)).all()):
            raise ValueError("counts must be whole numbers, 0 or more")
