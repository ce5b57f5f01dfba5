"""The seed's variants for counts: a Poisson likelihood and a latent library size by default."""

from __future__ import annotations

from torch import nn

from vae4counts.models.gmvae import GMVAE
from vae4counts.models.likelihoods import Likelihood, Poisson
from vae4counts.models.priors import MixturePrior, Prior
from vae4counts.models.vae import VAE


class CountVAE(VAE):
    """A `VAE` with a latent library size and, unless told otherwise, Poisson counts."""

    def __init__(
        self,
        n_features: int,
        prior: Prior | None = None,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module = "mlp",
    ) -> None:
        super().__init__(n_features, prior, likelihood or Poisson(), decoder, library="latent")


class CountGMVAE(GMVAE):
    """A `GMVAE` with a latent library size and, unless told otherwise, Poisson counts."""

    def __init__(
        self,
        n_features: int,
        prior: MixturePrior | None = None,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module = "mlp",
    ) -> None:
        super().__init__(n_features, prior, likelihood or Poisson(), decoder, library="latent")
