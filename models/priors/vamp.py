"""The VampPrior: a mixture of the guide's own posteriors at learnt pseudo-inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch, first_rows
from vae4counts.models.base import Posterior

from .base import MixturePrior

# A pseudo-input starts no nearer to zero than this: the gradient through softplus would vanish.
SMALLEST_PSEUDO_COUNT = 0.02


class VampPrior(MixturePrior):
    r"""``p(z) = 1/K sum_k q(z | u_k)`` with pseudo-inputs ``u_k`` (Tomczak & Welling 2018).

    The pseudo-inputs are vectors of (real, positive) counts. They start at training observations
    and are learnt. The encoder of ``q`` is the guide's own: `share_posterior` hands it over.

    Args:
        n_latent: Dimension of the latents.
        n_components: Number of pseudo-inputs.
    """

    flips = True  # with the guide, whose posteriors its components are
    needs_posterior = True

    def __init__(self, n_latent: int = 10, n_components: int = 10) -> None:
        super().__init__()
        self.n_latent, self.n_components = n_latent, n_components
        # kept in a tuple, so that the encoder's parameters stay the guide's alone
        self._shared: tuple[Posterior, ...] = ()

    def build(self, n_features: int) -> None:
        """See `Prior.build`: makes the pseudo-inputs."""
        super().build(n_features)
        self.pseudo_inputs = nn.Parameter(torch.zeros(self.n_components, n_features))

    def share_posterior(self, posterior: Posterior) -> None:
        """See `Prior.share_posterior`."""
        self._shared = (posterior,)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Starts the pseudo-inputs at observations drawn evenly from a shuffled batch.

        Raises:
            ValueError: There are more pseudo-inputs than observations.
        """
        if len(batch) < self.n_components:
            raise ValueError(f"{self.n_components} pseudo-inputs but {len(batch)} observations")
        counts = first_rows(batch.counts, self.n_components).clamp_min(SMALLEST_PSEUDO_COUNT)
        self.pseudo_inputs.copy_(counts + torch.log(-torch.expm1(-counts)))  # softplus, inverted

    def components(self) -> tuple[Tensor, Tensor]:
        """See `MixturePrior.components`.

        Raises:
            RuntimeError: No guide has shared its encoder yet.
        """
        if not self._shared:
            raise RuntimeError("the VampPrior has no encoder yet: make the guide, guide_for(model)")
        return self._shared[0](nn.functional.softplus(self.pseudo_inputs))

    def log_weights(self) -> Tensor:
        """See `MixturePrior.log_weights`."""
        return self.pseudo_inputs.new_full((self.n_components,), -math.log(self.n_components))
