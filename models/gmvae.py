"""VAEs with a mixture prior, and a look at their components."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vae4counts.models.library import Library
from vae4counts.models.likelihoods import Likelihood
from vae4counts.models.priors import GaussianMixture, MixturePrior
from vae4counts.models.vae import VAE


class GMVAE(VAE):
    """A `VAE` whose prior is a mixture, so that the model clusters as it embeds.

    It is scVAE's GMVAE (Grønbech et al. 2020).

    Args:
        n_features: Number ``G`` of features.
        prior: A mixture prior. `GaussianMixture` if None.
        likelihood: See `VAE`.
        decoder: See `VAE`.
        library: See `VAE`.

    Raises:
        ValueError: The prior is no mixture; else as `VAE`.
    """

    prior: MixturePrior

    def __init__(
        self,
        n_features: int,
        prior: MixturePrior | None = None,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module = "mlp",
        library: str | Library | None = "observed",
    ) -> None:
        prior = GaussianMixture() if prior is None else prior
        if not isinstance(prior, MixturePrior):
            raise ValueError(f"a GMVAE needs a mixture prior, not {type(prior).__name__}")
        super().__init__(n_features, prior, likelihood, decoder, library)

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(component | z), shape ``(*batch, K)``."""
        return self.prior.responsibilities(z)

    @torch.no_grad()
    def component_means(self, library: float = 1.0) -> Tensor:
        """Expected counts at the centre of each component.

        Args:
            library: Library size in counts (of no effect in a model without one).

        Returns:
            Shape ``(K, G)``.
        """
        centres, _ = self.prior.components()
        size = centres.new_full((len(centres), 1), library)
        counts = self.likelihood(self.decoder(centres), size if self.library.scales else None)
        return counts.mean
