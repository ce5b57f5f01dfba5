"""The base classes of priors: modules that sample the latents of each observation.

A new prior is a subclass of `Prior`, or of `MixturePrior` if it is a mixture of diagonal Gaussians:
then it defines `components` and `log_weights` only. A line in ``registry.py`` makes it known by
name and has the generic tests cover it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.models.base import Posterior
from vae4counts.models.config import Configured
from vae4counts.models.sites import Latent


class Prior(Configured, nn.Module, abc.ABC):
    """p(z), sampled inside the observation plate as the site ``"z"``.

    Attributes:
        n_latent: Dimension ``L`` of the latents.
        rotation_invariant: Whether rotating ``z`` leaves the density as it is.
        flips: Whether the prior can `flip`.
        needs_posterior: Whether the prior is made of the guide's q(z | x): see `share_posterior`.
        default_decoder: The name of the decoder that a model with this prior has by default.
    """

    n_latent: int
    rotation_invariant: bool = False
    flips: bool = False
    needs_posterior: bool = False
    default_decoder: str = "mlp"

    @abc.abstractmethod
    def forward(self) -> Tensor:
        """Sample ``z`` and the sites that it depends on; shape ``(*batch, L)``."""

    @abc.abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of ``z`` in nats, marginal over the prior's discrete latents.

        Args:
            z: Shape ``(*batch, L)``.

        Returns:
            Shape ``(*batch,)``.
        """

    @property
    def latents(self) -> Sequence[Latent]:
        """The sites that `forward` samples, in order."""
        return (Latent("z", "latent"),)

    def build(self, n_features: int) -> None:  # noqa: ARG002
        """Make the parameters whose size depends on the features. Called once, by the model.

        Raises:
            ValueError: The prior is part of another model, or has no latents.
        """
        self.claim()
        if self.n_latent < 1:
            raise ValueError(f"n_latent is {self.n_latent}: it must be 1 or more")

    def hyperprior(self) -> None:
        """Sample the sites of a prior on the parameters, outside the plate. None by default."""

    @property
    def mixture(self) -> MixturePrior | None:
        """This prior if it is a mixture of Gaussians, else None."""
        return None

    def flip(self, signs: Tensor) -> None:
        """Multiply ``z`` by signs, shape ``(L,)``; a symmetric density stays as it is."""

    def plain(self) -> Prior | None:
        """Return a simpler prior to train the model with first, if that helps, else None."""
        return None

    def groups(self, z: Tensor, seed: int, known: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Find groups of latents that were learnt with the `plain` prior, to start at.

        Args:
            z: Draws of the latents of training observations, shape ``(n, L)``.
            seed: Seed of all random choices.
            known: Where components are classes, the component of each one's class, -1 where it is
                not known, int64, shape ``(n,)``.

        Returns:
            The share of each group in each draw, summing to 1, shape ``(n, n_groups)``; None for a
            prior that starts at no groups.
        """
        return None

    def start_at(self, z: Tensor, shares: Tensor) -> None:
        """Set parameters from `groups` of latents. Does nothing unless overridden.

        Args:
            z: The latents, shape ``(n, L)``.
            shares: The share of each group in each, shape ``(n, n_groups)``.
        """

    def share_posterior(self, posterior: Posterior) -> None:
        """Take the guide's map from counts to q(z | x), for a prior with `needs_posterior`."""


class MixturePrior(Prior, abc.ABC):
    r"""A mixture of diagonal Gaussians.

    .. math:: p(z) = \sum_k \pi_k \prod_l N(z_l; \mu_{kl}, \sigma_{kl}^2).

    The site ``"component"`` is enumerated in parallel: `TraceEnum_ELBO` sums it out exactly unless
    the guide samples it.

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
        """Return ``log p(component, z)``, shape ``(*batch, K)``."""
        densities = torch.distributions.Normal(*self.components()).log_prob(z.unsqueeze(-2))
        return densities.sum(-1) + self.log_weights()
