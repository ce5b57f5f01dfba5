"""The amortised Gaussian guide, with which a mixture's component is summed out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import pyro
import pyro.distributions as dist
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide, sampled_sites
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.heads import GaussianHead, LibraryHead
from vae4counts.models.base import Model, observations


class MarginalGuide(Guide):
    r"""``q(z | x) = N(mu(x), diag sigma(x)^2)``, and ``q(library | x)`` if that is latent.

    For a prior without components it is the usual amortised guide (Kingma & Welling 2014). For a
    mixture prior the model's component is enumerated and summed out exactly,
    ``log sum_k pi_k p(z | k)``: a step costs one decoder pass whatever ``K`` is, and there is no
    network ``q(component | x)`` that could collapse. The component's posterior follows from Bayes'
    rule.

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
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model that leaves ``z``, or ``z`` and ``library``, to the guide."""
        return model.n_latent is not None and {"z"} <= sampled_sites(model) <= {"z", "library"}

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> MarginalGuide:
        """See `Guide.for_model`."""
        return cls(
            model.n_features,
            cast(int, model.n_latent),
            latent_library="library" in sampled_sites(model),
            encoder=encoder,
        )

    @property
    def sites(self) -> Sequence[str]:
        """See `Guide.sites`."""
        return ("library", "z") if self.latent_library else ("z",)

    def made_for(self, model: Model) -> Iterable[tuple[str, object, object]]:
        """See `Guide.made_for`."""
        yield "n_features", self.n_features, model.n_features
        yield "n_latent", self.n_latent, model.n_latent
        yield "latent_library", self.latent_library, "library" in sampled_sites(model)

    def attach(self, model: Model) -> None:
        """See `Guide.attach`: give q(z | x) to a prior that is made of it, such as `VampPrior`."""
        model.share_posterior(self.settled_posterior)

    @property
    def flips(self) -> bool:
        """See `Guide.flips`."""
        return True

    def flip(self, signs: Tensor) -> None:
        """See `Guide.flip`."""
        self.head.flip(signs)

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of q(z | x), each ``(B, L)``.

        Args:
            counts: CSR or dense, shape ``(B, G)``.
        """
        return self.head(self.encoder(counts))

    def settled_posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return `posterior` in evaluation mode: without dropout and by the running moments.

        A prior that is made of it is then one density for all observations of a batch.
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
