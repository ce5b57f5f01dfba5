"""The base class of models that are one joint distribution over the counts."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import pyro
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS, Batch
from vae4counts.models.base import Model, observations
from vae4counts.models.joint.distribution import JointDistribution
from vae4counts.models.sites import Latent


class JointModel(Model, abc.ABC):
    """p(counts) as one `JointDistribution`, the same for all observations.

    Nothing is left to a guide: what is latent is summed out inside of ``log_prob``. The total count
    is part of what the model explains.
    """

    latents: Sequence[Latent] = ()

    @abc.abstractmethod
    def distribution(self) -> JointDistribution:
        """Return the distribution of the counts of an observation, of batch shape ``()``."""

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        with observations(batch):
            return pyro.sample(COUNTS, self.distribution(), obs=batch.counts)
