"""The amortised Gaussian guide, which leaves a mixture's component to be summed out."""

from __future__ import annotations

from typing import cast

import pyro
import pyro.distributions as dist
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.heads import GaussianHead, LibraryHead
from vae4counts.models import VAE, CountModel, observations
from vae4counts.models.priors import VampPrior


class MarginalGuide(Guide):
    r"""``q(z | x) = N(mu(x), diag sigma(x)^2)``, and ``q(library | x)`` if that is latent.

    For a prior without a component it is the usual amortised guide (Kingma & Welling 2014). For a
    mixture prior the model's component is enumerated and summed out exactly,
    ``log sum_k pi_k p(z | k)``: one decoder pass whatever ``K`` is, and no network
    ``q(component | x)`` that could collapse. The component's posterior follows from Bayes' rule.

    Args:
        n_features: Number ``G`` of features.
        n_latent: Dimension ``L`` of the latents.
        latent_library: Whether the model's library size is latent.
        encoder: The encoder. `Encoder` with its defaults if None.
    """

    def __init__(
        self,
        n_features: int,
        n_latent: int,
        latent_library: bool = False,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.n_features, self.n_latent = n_features, n_latent
        self.latent_library = latent_library
        self.encoder = Encoder() if encoder is None else encoder
        self.encoder.build(n_features)
        self.head = GaussianHead(self.encoder.hidden[-1], n_latent)
        self.library_head = LibraryHead(self.encoder.hidden[-1]) if latent_library else None

    @classmethod
    def fits(cls, model: CountModel) -> bool:
        """See `Guide.fits`: any VAE."""
        return isinstance(model, VAE)

    @classmethod
    def for_model(cls, model: CountModel, encoder: Encoder) -> MarginalGuide:
        """See `Guide.for_model`."""
        vae = cast(VAE, model)
        return cls(vae.n_features, vae.prior.n_latent, vae.library.latent, encoder)

    def attach(self, model: CountModel) -> None:
        """See `Guide.attach`: a `VampPrior` shares the encoder."""
        if isinstance(model, VAE) and isinstance(model.prior, VampPrior):
            model.prior.share_encoder(self.settled_posterior)

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of q(z | x), each ``(B, L)``, for CSR or dense counts."""
        return self.head(self.encoder(counts))

    def settled_posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """`posterior` as it is after training: without dropout, and by the running moments.

        A prior that hangs on it is the same density for all observations of a batch.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return self.posterior(counts)
        finally:
            for module, training in modes:
                module.training = training

    def forward(self, batch: Batch) -> Tensor:
        """See `Guide.forward`."""
        features = self.encoder(batch.counts)
        loc, scale = self.head(features)
        with observations(batch):
            if self.library_head is not None:
                self.library_head(features, batch)
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
