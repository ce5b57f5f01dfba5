"""The base classes of distributions of independent values, sparse counts or dense numbers."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, TypeAlias, TypeVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from vae4counts.data.counts.support import COUNTS, Support
from vae4counts.models.joint.distribution import NO_SHAPE, JointDistribution, dense_counts

from .nonzeros import NonZeros
from .sparse import Family, log_prob

Self = TypeVar("Self", bound="FeatureDistribution")
Shape: TypeAlias = torch.Size | list[int] | tuple[int, ...]

# What a missing entry is computed with, to no effect: a value at which log-densities are finite.
PLACEHOLDER = 0.5

_broadcast = lru_cache(torch.broadcast_shapes)  # takes longer than a small batch's softmax


class FeatureDistribution(JointDistribution, abc.ABC):
    """A distribution over one observation's ``G`` values, independent given the parameters.

    A subclass defines `log_prob`, `log_prob_at`, `mean`, `variance` and how to draw;
    `CountDistribution` and `DenseDistribution` do all but the last three.

    Args:
        parameters: Tensors that broadcast to ``(*batch_shape, G)``.
        validate_args: Whether to check that values are in the support. Pyro's own switch if None.

    Attributes:
        accepts: The values.
    """

    accepts: ClassVar[Support]

    def __init__(self, *parameters: Tensor, validate_args: bool | None = None) -> None:
        self.parameters: Sequence[Tensor] = parameters
        shape = _broadcast(*(parameter.shape for parameter in parameters))
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @constraints.dependent_property(event_dim=1)
    def support(self) -> constraints.Constraint:
        """Vectors of the values that it accepts."""
        return constraints.independent(self.accepts.constraint, 1)

    def expand(self: Self, batch_shape: Shape, _instance: Self | None = None) -> Self:
        """Expand the batch shape; the parameters stay as they are and broadcast lazily."""
        new = self._get_checked_instance(type(self), _instance)
        new.parameters = self.parameters
        TorchDistribution.__init__(
            new, torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense values of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return self._draw(shape)

    @abc.abstractmethod
    def _draw(self, shape: torch.Size) -> Tensor:
        """Draw values of this shape; called without gradients."""

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
            here = known.presence(columns).log()
            found = torch.where(present[..., columns] & ~seen, here, found)
        return found.sum(-1)

    def presence_together(self, columns: Tensor, weights: Tensor) -> Tensor:
        """See `JointDistribution.presence_together`: different features are independent."""
        present = self.presence(columns).double()
        return present.T @ (weights.unsqueeze(-1) * present)

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
        return expected, self.presence(everywhere).expand(*shape, -1)

    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: Shape = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`: other counts tell nothing."""
        shape = _broadcast(self.batch_shape, values.shape[:-1])
        drawn = self.expand(shape).sample(sample_shape)
        return torch.where(observed, dense_counts(values).to(drawn), drawn)

    def _at(self, columns: Tensor) -> list[Tensor]:
        """Return the parameters of a few features, shape ``(*batch_shape, F)`` each."""
        shape = (*self.batch_shape, self.event_shape[0])
        return [parameter.expand(shape)[..., columns] for parameter in self.parameters]

    def _validate_sample(self, value: Tensor) -> None:
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"values of {value.shape[-1]} features were given to a distribution over "
                f"{self.event_shape[0]} features"
            )
        entries = value if value.layout == torch.strided else value.values()
        if not bool(self.accepts.allows(entries).all()):
            raise ValueError(f"values must be {self.accepts.description}")


class CountDistribution(FeatureDistribution, abc.ABC):
    """A distribution over one observation's ``G`` counts, at the cost of those that are not 0.

    Args:
        parameters: Tensors that broadcast to ``(*batch_shape, G)``, in the order of the `family`'s.
        validate_args: See `FeatureDistribution`.
    """

    family: ClassVar[Family]
    accepts = COUNTS

    def log_prob(self, value: Tensor) -> Tensor:
        """See `JointDistribution.log_prob`.

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
        parameters = self._at(columns)
        zero, _ = self.family.zero(*parameters)
        # a ratio is defined for counts above zero only
        counts = values.to(parameters[0].dtype).clamp_min(1).expand_as(parameters[0])
        ratio, _ = self.family.ratio(counts, *parameters)
        return zero + torch.where(values > 0, ratio, torch.zeros_like(ratio))


class DenseDistribution(FeatureDistribution, abc.ABC):
    """A distribution over one observation's ``G`` numbers, some of which may be missing.

    A missing entry, which is NaN, adds 0 to the log-density and to its gradient. `_log_density`
    must be finite at 0.5, which missing entries are replaced by.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of each observation, in nats.

        Args:
            value: Shape ``(*sample_shape, *batch_shape, G)``, NaN where an entry is missing.
                A sparse CSR tensor of shape ``(B, G)`` has no missing entries.

        Returns:
            Shape ``batch_shape``, broadcast with the batch shape of ``value``.

        Raises:
            ValueError: Values are checked, and one is not what the distribution `accepts`, or
                there are more or fewer of them than features.
        """
        if self._validate_args:
            self._validate_sample(value)
        shape = _broadcast(self.batch_shape, value.shape[:-1])
        dense = value if value.layout == torch.strided else value.to_dense()
        return self._entries(dense, self.parameters).sum(-1).expand(shape)

    @torch.no_grad()
    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        return self._entries(values, self._at(columns))

    def presence(self, columns: Tensor) -> Tensor:
        """See `JointDistribution.presence`: of numbers it is not known."""
        return self.parameters[0].new_full((*self.batch_shape, len(columns)), torch.nan)

    def _entries(self, values: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        values = values.to(parameters[0].dtype)
        missing = values.isnan()
        # replaced before it is computed with: zero times the gradient of NaN would be NaN
        found = self._log_density(values.masked_fill(missing, PLACEHOLDER), *parameters)
        return found.masked_fill(missing, 0.0)

    @abc.abstractmethod
    def _log_density(self, values: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density of each value, elementwise."""
