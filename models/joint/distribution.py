"""The base class of distributions over the whole vector of counts."""

from __future__ import annotations

import abc

from pyro.distributions import TorchDistribution
from torch import Tensor

from vae4counts.models.base import NotInModelError


class JointDistribution(TorchDistribution, abc.ABC):
    """A distribution over the vector of an observation's ``G`` counts, of event shape ``(G,)``.

    ``log_prob`` takes CSR and dense counts. What only some such distributions can do is a method
    here that raises `NotInModelError` unless overridden.
    """

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """Return the log-probability of each of a few counts on its own, without gradients.

        Args:
            columns: Positions of ``F`` features, shape ``(F,)``.
            values: Their counts, shape ``(F,)`` or broadcastable to ``(*batch_shape, F)``.

        Returns:
            Nats, shape ``(*batch_shape, F)``.

        Raises:
            NotInModelError: The counts are not independent given the parameters.
        """
        raise NotInModelError(f"the counts of a {type(self).__name__} are not independent")
