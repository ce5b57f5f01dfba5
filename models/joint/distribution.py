"""What can be asked of a distribution over a whole vector of counts."""

from __future__ import annotations

import abc

from pyro.distributions import TorchDistribution
from torch import Tensor

from vae4counts.models.base import NotInModelError


class JointDistribution(TorchDistribution, abc.ABC):
    """A distribution over the vector of an observation's ``G`` counts.

    Its ``log_prob`` takes CSR and dense counts; event shape ``(G,)``.
    """

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """Return the log-probability of each of a few counts by itself, the others left out.

        Args:
            columns: Positions of ``F`` features, shape ``(F,)``.
            values: Their counts, shape ``(F,)``.

        Returns:
            Nats, shape ``(*batch_shape, F)``.

        Raises:
            NotInModelError: The features are not independent given the parameters.
        """
        raise NotInModelError(f"the features of a {type(self).__name__} are not independent")
