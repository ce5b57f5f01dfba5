"""The guide of models whose only latent is summed out: it samples nothing."""

from __future__ import annotations

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide
from vae4counts.guides.encoder import Encoder
from vae4counts.models import CountMixture, CountModel, GaussianMixtureModel


class ExactGuide(Guide):
    """Samples nothing: the ELBO is then the exact log-likelihood."""

    @classmethod
    def fits(cls, model: CountModel) -> bool:
        """See `Guide.fits`: a mixture without a network."""
        return isinstance(model, (CountMixture, GaussianMixtureModel))

    @classmethod
    def for_model(cls, model: CountModel, encoder: Encoder) -> ExactGuide:  # noqa: ARG003
        """See `Guide.for_model`."""
        return cls()

    def forward(self, batch: Batch) -> None:
        """See `Guide.forward`."""
