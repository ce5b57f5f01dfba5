"""The VampPrior: a mixture of the guide's own posteriors at learnt pseudo-inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch, first_rows
from vae4counts.models.base import Posterior

from .base import MixturePrior

# Pseudo-inputs start at this or above: at zero the gradient through softplus would vanish.
SMALLEST_PSEUDO_COUNT = 0.02


class VampPrior(MixturePrior):
    r"""``p(z) = 1/K sum_k q(z | u_k)`` with pseudo-inputs ``u_k`` (Tomczak & Welling 2018).

    The pseudo-inputs are vectors of positive real numbers in place of counts, which start at
    training observations and are learnt. ``q`` is the guide's own: see `share_posterior`.

    Args:
        n_latent: Dimension of the latents.
        n_components: Number of pseudo-inputs.
    """

    flips = True  # with the guide, whose posteriors are the components
    needs_posterior = True

    def __init__(self, n_latent: int = 10, n_components: int = 10) -> None:
        super().__init__()
        self.n_latent, self.n_components = n_latent, n_components
        # in a tuple, so that the encoder is not registered as a module of the prior too
        self._shared: tuple[Posterior, ...] = ()

    def build(self, n_features: int) -> None:
        """See `Prior.build`: make the pseudo-inputs."""
        super().build(n_features)
        self.pseudo_inputs = nn.Parameter(torch.zeros(self.n_components, n_features))

    def share_posterior(self, posterior: Posterior) -> None:
        """See `Prior.share_posterior`."""
        self._shared = (posterior,)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the pseudo-inputs at the first observations of a shuffled batch.

        Raises:
            ValueError: There are more pseudo-inputs than observations.
        """
        if len(batch) < self.n_components:
            raise ValueError(f"{self.n_components} pseudo-inputs but {len(batch)} observations")
        counts = first_rows(batch, self.n_components).clamp_min(SMALLEST_PSEUDO_COUNT)
        self.pseudo_inputs.copy_(counts + torch.log(-torch.expm1(-counts)))  # softplus, inverted

    def components(self) -> tuple[Tensor, Tensor]:
        """See `MixturePrior.components`.

        Raises:
            RuntimeError: No guide has shared its encoder yet.
        """
        if not self._shared:
            raise RuntimeError("the VampPrior has no encoder yet: call guide_for(model) first")
        return self._shared[0](nn.functional.softplus(self.pseudo_inputs))

    def log_weights(self) -> Tensor:
        """See `MixturePrior.log_weights`."""
        return self.pseudo_inputs.new_full((self.n_components,), -math.log(self.n_components))
