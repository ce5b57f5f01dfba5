"""What a guide is: q(latents | counts), sampling exactly the sites that are not summed out.

To write a new guide, subclass `Guide` and add it to the registry in ``guides/__init__.py``. The
generic tests then cover it.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.encoder import Encoder
from vae4counts.models.base import CountModel
from vae4counts.models.config import Configured


class IncompatiblePairError(ValueError):
    """A guide that does not fit a model."""


class Guide(Configured, nn.Module):
    """q(latents | counts): a Pyro guide of a batch."""

    @classmethod
    @abstractmethod
    def fits(cls, model: CountModel) -> bool:
        """Whether the guide samples what the model needs."""

    @classmethod
    @abstractmethod
    def for_model(cls, model: CountModel, encoder: Encoder) -> Guide:
        """Makes an untrained guide for a model that it fits: `guide_for` makes sure of that."""

    def attach(self, model: CountModel) -> None:
        """Hands the model's prior what it shares with the guide; nothing unless overridden."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor | None:
        """Samples the latents inside the observation plate."""
