"""The guide of models that sum every latent out."""

from __future__ import annotations

from collections.abc import Sequence

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide
from vae4counts.guides.encoder import Encoder
from vae4counts.models.base import Model


class ExactGuide(Guide):
    """A guide that samples nothing: the ELBO is then the exact log-likelihood."""

    sites: Sequence[str] = ()

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model that is exact."""
        return model.is_exact

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> ExactGuide:  # noqa: ARG003
        """See `Guide.for_model`."""
        return cls()

    def forward(self, batch: Batch) -> None:
        """See `Guide.forward`."""
