"""VAEs with a mixture prior, and questions about their components."""

from __future__ import annotations

import torch
from torch import Tensor

from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture, MixturePrior
from vae4counts.models.vae import VAE


class GMVAE(VAE):
    """A `VAE` whose prior is a mixture, so that the model clusters as it embeds.

    It is scVAE's GMVAE (Grønbech et al. 2020). Its arguments are those of `VAE`.

    Raises:
        ValueError: The prior is not a mixture; otherwise as `VAE`.
    """

    default_prior = GaussianMixture
    needs_mixture = True
    prior: MixturePrior

    def responsibilities(self, z: Tensor) -> Tensor:
        """Return p(component | z), shape ``(*batch, K)``."""
        return self.prior.responsibilities(z)

    @torch.no_grad()
    def component_means(self, library: float = 1.0) -> Tensor:
        """Return the expected counts at the centre of each component, averaged over covariates.

        Args:
            library: Library size in counts; ignored by a model without one.

        Returns:
            Shape ``(K, G)``.
        """
        centres, _ = self.prior.components()
        return self.averaged(
            centres,
            library,
            None,
            lambda likelihood, outputs, size: likelihood(outputs, size).mean,
        )


class CountGMVAE(GMVAE):
    """The seed project's variant: Poisson counts and a latent library size by default."""

    default_likelihood = Poisson
    default_library = "latent"
