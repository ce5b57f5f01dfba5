"""What every model of counts shares: the observation plate, and starting from data."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import pyro
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.config import Configured


def observations(batch: Batch) -> pyro.plate:
    """The plate over observations, of the data set's size, subsampled to the batch."""
    return pyro.plate("observations", batch.n_observations, subsample=batch.index, dim=-1)


def mean_counts(batch: Batch) -> Tensor:
    """Mean count of each feature over a batch, shape ``(G,)``."""
    return batch.counts.sum(0, keepdim=True).to_dense().squeeze(0) / len(batch)


@runtime_checkable
class StartsFromData(Protocol):
    """A module that sets some of its parameters from training data before the first step."""

    def initialise(self, batch: Batch) -> None:
        """Sets the parameters from a shuffled batch of training observations."""


class CountModel(Configured, nn.Module):
    """p(counts, latents): a Pyro model of a batch.

    Attributes:
        n_features: Number ``G`` of features.
        outputs_per_draw: How many numbers the model computes for one draw of an observation's
            latents, by which evaluation keeps its memory in bounds.
    """

    n_features: int
    outputs_per_draw: int

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Samples the latents and observes ``batch.counts`` at the site ``"counts"``."""
