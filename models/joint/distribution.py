"""The base class of distributions over the whole vector of counts."""

from __future__ import annotations

import abc
import copy
from typing import Any, ClassVar, TypeVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from vae4counts.models.base import NotInModelError

NO_SHAPE = torch.Size()

Self = TypeVar("Self", bound="OneForAll")


class JointDistribution(TorchDistribution, abc.ABC):
    """A distribution over the vector of an observation's ``G`` counts, of event shape ``(G,)``.

    ``log_prob`` takes CSR and dense counts. What only some such distributions can do is a method
    here that raises `NotInModelError` unless overridden. These questions are put for a matrix of
    counts, CSR or dense, of shape ``(B, G)``, or ``(1, G)`` for one row of counts under a batch of
    parameters; answers have the batch shape that ``log_prob`` has at these counts.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Vectors of counts."""
        return constraints.independent(constraints.nonnegative_integer, 1)

    @abc.abstractmethod
    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each observation, in nats.

        Args:
            value: Counts: a sparse CSR tensor of shape ``(B, G)``, or a dense tensor of shape
                ``(*sample_shape, *batch_shape, G)``.

        Returns:
            Shape ``batch_shape``, broadcast with the batch shape of ``value``.
        """

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """Return the log-probability of each of a few counts on its own, without gradients.

        Args:
            columns: Positions of ``F`` features, shape ``(F,)``.
            values: Their counts, shape ``(F,)`` or broadcastable to ``(*batch_shape, F)``.

        Returns:
            Nats, shape ``(*batch_shape, F)``.

        Raises:
            NotInModelError: The distribution has no marginals.
        """
        raise self._cannot("marginals of single features")

    def presence(self, columns: Tensor) -> Tensor:
        """Return the probability that each of a few counts is 1 or more, without gradients.

        Args:
            columns: Positions of ``F`` features, shape ``(F,)``.

        Returns:
            Shape ``(*batch_shape, F)``; NaN for values that are not counts.

        Raises:
            NotInModelError: The distribution has no marginals.
        """
        return -torch.expm1(self.log_prob_at(columns, torch.zeros(len(columns)).to(columns.device)))

    def presence_together(self, columns: Tensor, weights: Tensor) -> Tensor:
        """Return how often two of a few counts are both 1 or more, over a weighted batch.

        Args:
            columns: Positions of ``F`` features, shape ``(F,)``.
            weights: Of the distributions of the batch, float64, shape ``(B,)``.

        Returns:
            The weighted sum of the probabilities, shape ``(F, F)``.

        Raises:
            NotInModelError: The distribution has no marginals.
        """
        nothing = torch.zeros(1, self.event_shape[0], device=columns.device)
        unknown = nothing.bool().squeeze(0)
        found = [
            weights @ self.log_marginal(nothing, unknown, unknown.index_fill(0, two, True)).exp()
            for two in torch.cartesian_prod(columns, columns)
        ]
        return torch.stack(found).view(len(columns), -1)

    def log_marginal(
        self,
        values: Tensor,  # noqa: ARG002
        observed: Tensor,  # noqa: ARG002
        present: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Return the log-probability of some of the counts, the others summed out.

        Args:
            values: Counts, shape ``(B, G)``; read where they are observed.
            observed: Whether a count is observed, bool, shape ``(G,)`` or ``(B, G)``.
            present: Whether all that is known of a count is that it is 1 or more, bool, shape
                ``(G,)`` or ``(B, G)``; None if of none.

        Returns:
            Nats, shape ``(*batch_shape)``: `log_prob` if all are observed, 0 if nothing is known.

        Raises:
            NotInModelError: The distribution has no marginals in closed form.
        """
        raise self._cannot("marginals")

    def leave_one_out(self, values: Tensor) -> Tensor:  # noqa: ARG002
        r"""Return ``log p(x_d | x_-d)``, each count given all others, without gradients.

        Args:
            values: Counts, shape ``(B, G)``.

        Returns:
            Nats, shape ``(*batch_shape, G)``.

        Raises:
            NotInModelError: The distribution has no conditionals in closed form.
        """
        raise self._cannot("conditionals")

    def expected_given(
        self,
        values: Tensor,  # noqa: ARG002
        observed: Tensor,  # noqa: ARG002
        present: Tensor | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Return what to expect of counts given what is known of others, without gradients.

        Args:
            values: See `log_marginal`.
            observed: See `log_marginal`.
            present: See `log_marginal`.

        Returns:
            Expected counts and probabilities of a count of 1 or more, shape ``(*batch_shape, G)``.
            Where a count is observed they are not of use.

        Raises:
            NotInModelError: The distribution has no conditionals in closed form.
        """
        raise self._cannot("conditionals")

    def sample_given(
        self,
        values: Tensor,  # noqa: ARG002
        observed: Tensor,  # noqa: ARG002
        sample_shape: torch.Size = NO_SHAPE,  # noqa: ARG002
    ) -> Tensor:
        """Draw the counts that are not observed, given those that are.

        Args:
            values: See `log_marginal`.
            observed: See `log_marginal`.
            sample_shape: Shape of the draws.

        Returns:
            Dense counts, shape ``(*sample_shape, *batch_shape, G)``, the observed ones among them.

        Raises:
            NotInModelError: The distribution cannot be drawn from given some of the counts.
        """
        raise self._cannot("draws given some of the counts")

    def _cannot(self, what: str) -> NotInModelError:
        return NotInModelError(f"a {type(self).__name__} has no {what}")


class OneForAll(JointDistribution, abc.ABC):
    """A joint distribution that is the same for all observations of a batch."""

    def expand(self: Self, batch_shape: Any, _instance: Self | None = None) -> Self:
        """Expand the batch shape: the same distribution for each observation."""
        new = copy.copy(self)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def _over_batch(self, found: Tensor, event_dim: int = 0) -> Tensor:
        """Expand answers to the batch shape; their last ``event_dim`` axes are of the answer."""
        n = found.dim() - event_dim
        shape = torch.broadcast_shapes(self.batch_shape, found.shape[:n])
        return found.expand(*shape, *found.shape[n:])


def dense_counts(values: Tensor) -> Tensor:
    """Return counts, CSR or dense, as a dense tensor."""
    return values if values.layout == torch.strided else values.to_dense()
