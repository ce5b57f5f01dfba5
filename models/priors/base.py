"""What a prior is: a module that samples the latents of one observation.

To write a new prior, subclass `Prior` (or `MixturePrior`, if it is a mixture of diagonal
Gaussians: then `components` and `log_weights` are all there is to define). To have the generic
tests cover it, and the command line know it, add it to the registry in ``priors/__init__.py``.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.models.base import Latent, Posterior
from vae4counts.models.config import Configured


class Prior(Configured, nn.Module, abc.ABC):
    """p(z), sampled inside the observation plate as the site ``"z"``.

    Attributes:
        n_latent: Dimension ``L`` of the latents.
        rotation_invariant: Whether the density is the same after any rotation of ``z``.
        flips: Whether `flip` changes the signs of latents.
        needs_posterior: Whether the prior is made of the guide's q(z | x), see `share_posterior`.
    """

    n_latent: int
    rotation_invariant: bool = False
    flips: bool = False
    needs_posterior: bool = False

    @abc.abstractmethod
    def forward(self) -> Tensor:
        """Sample ``z`` and the sites that it depends on; shape ``(*batch, L)``."""

    @abc.abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density in nats of ``z``, marginal over the prior's discrete latents.

        Args:
            z: Shape ``(*batch, L)``.
        """

    @property
    def latents(self) -> Sequence[Latent]:
        """The sites that `forward` samples, in its order."""
        return (Latent("z", "latent"),)

    def build(self, n_features: int) -> None:  # noqa: ARG002
        """Make the parameters whose size depends on the features. Called once, by the model.

        Raises:
            ValueError: The prior is another model's already, or its sizes are out of range.
        """
        self.claim()
        if self.n_latent < 1:
            raise ValueError(f"n_latent is {self.n_latent}: it must be 1 or more")

    def hyperprior(self) -> None:
        """State the density of the prior's own parameters, outside the plate; none here."""

    @property
    def mixture(self) -> MixturePrior | None:
        """This prior, if it is a mixture of Gaussians."""
        return None

    def flip(self, signs: Tensor) -> None:
        """Multiply the latents by signs, shape ``(L,)``; nothing to do for a symmetric density."""

    def plain(self) -> Prior | None:
        """Return a simpler prior to train with first; None for a prior that needs none."""
        return None

    def start_from_latents(self, z: Tensor, seed: int) -> None:
        """Set parameters from latents that were learnt under the `plain` prior.

        Args:
            z: Draws of the latents of training observations, shape ``(n, L)``.
            seed: Seed of all choices.
        """

    def share_posterior(self, posterior: Posterior) -> None:
        """Take the guide's map from counts to means and standard deviations of q(z | x)."""


class MixturePrior(Prior, abc.ABC):
    r"""A mixture of diagonal Gaussians.

    .. math:: p(z) = \sum_k \pi_k \prod_l N(z_l; \mu_{kl}, \sigma_{kl}^2).

    The site ``"component"`` is enumerated in parallel: `TraceEnum_ELBO` sums it out exactly
    unless the guide samples it.

    Attributes:
        n_components: Number ``K`` of components.
    """

    n_components: int

    @abc.abstractmethod
    def components(self) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of the components, each of shape ``(K, L)``."""

    @abc.abstractmethod
    def log_weights(self) -> Tensor:
        """Return the normalised logarithms of the weights, shape ``(K,)``."""

    @property
    def latents(self) -> Sequence[Latent]:
        """See `Prior.latents`."""
        return (Latent("component", states=self.n_components), Latent("z", "latent"))

    @property
    def mixture(self) -> MixturePrior:
        """This prior."""
        return self

    def build(self, n_features: int) -> None:
        """See `Prior.build`."""
        super().build(n_features)
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}: it must be 1 or more")

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
        """Return p(component | z) by Bayes' rule, shape ``(*batch, K)``."""
        return self._joint(z).softmax(-1)

    def _joint(self, z: Tensor) -> Tensor:
        """``log p(component, z)``, shape ``(*batch, K)``."""
        densities = torch.distributions.Normal(*self.components()).log_prob(z.unsqueeze(-2))
        return densities.sum(-1) + self.log_weights()
