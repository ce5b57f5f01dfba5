"""What a prior is: a module that samples the latents of one observation.

To write a new prior, subclass `Prior` (or `MixturePrior`, if it is a mixture of diagonal
Gaussians: then `components` is all there is to state) and add it to the registry in
``priors/__init__.py``. The generic tests then cover it.
"""

from __future__ import annotations

from abc import abstractmethod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.models.config import Configured


class Prior(Configured, nn.Module):
    """p(z), sampled inside the observation plate as the site ``"z"``.

    Attributes:
        n_latent: Dimension ``L`` of the latents.
    """

    n_latent: int

    @abstractmethod
    def forward(self) -> Tensor:
        """Samples ``z`` and what it hangs on; shape ``(*batch, L)``."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats of ``z`` of shape ``(*batch, L)``, marginal over any component."""

    def build(self, n_features: int) -> None:  # noqa: ARG002
        """Makes the parameters whose size hangs on the features. Called once, by the model.

        Raises:
            ValueError: The prior is another model's already, or its sizes are out of range.
        """
        self.claim()
        for name in ("n_latent", "n_components"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")

    def hyperprior(self) -> None:
        """States the density of the prior's own parameters, outside the plate; none here."""


class MixturePrior(Prior):
    r"""A mixture of diagonal Gaussians.

    .. math:: p(z) = \sum_k \pi_k \prod_l N(z_l; \mu_{kl}, \sigma_{kl}^2).

    The site ``"component"`` is enumerated in parallel: `TraceEnum_ELBO` sums it out exactly
    unless the guide samples it.

    Attributes:
        n_components: Number ``K`` of components.
    """

    n_components: int

    @abstractmethod
    def components(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of the components, each of shape ``(K, L)``."""

    @abstractmethod
    def log_weights(self) -> Tensor:
        """Normalised logarithms of the weights, shape ``(K,)``."""

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        loc, scale = self.components()
        component = pyro.sample(
            "component",
            dist.Categorical(logits=self.log_weights()),
            infer={"enumerate": "parallel"},
        )
        chosen = dist.Normal(
            nn.functional.embedding(component, loc), nn.functional.embedding(component, scale)
        )
        return pyro.sample("z", chosen.to_event(1))

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return self._joint(z).logsumexp(-1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(component | z) by Bayes' rule, shape ``(*batch, K)``."""
        return self._joint(z).softmax(-1)

    def _joint(self, z: Tensor) -> Tensor:
        """``log p(component, z)``, shape ``(*batch, K)``."""
        densities = torch.distributions.Normal(*self.components()).log_prob(z.unsqueeze(-2))
        return densities.sum(-1) + self.log_weights()
