"""What every model declares: its sites, its memory, and what it can be asked."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from vae4counts.data.counts.batch import COUNTS, Batch
from vae4counts.models.config import Configured

if TYPE_CHECKING:
    from vae4counts.models.priors import MixturePrior

# Parameters live in the modules, not in a store that all models of a process share.
pyro.settings.set(module_local_params=True)

OBSERVATIONS = "observations"
"""The name of the plate over observations."""

Posterior = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A map from counts to means and standard deviations of q(z | x), each ``(B, L)``."""


class NotInModelError(ValueError):
    """Something was asked for that this kind of model does not have."""


@dataclass(frozen=True, slots=True)
class Latent:
    """A latent site of a model, inside the observation plate.

    Attributes:
        name: The site's name.
        dimension: What its last axis is called in results; None for one number an observation.
        states: How many states the model enumerates in parallel and sums out, unless the guide
            samples the site; None for a site that a guide has to sample.
    """

    name: str
    dimension: str | None = None
    states: int | None = None


def observations(batch: Batch) -> pyro.plate:
    """Return the plate over observations, of the data set's size, subsampled to the batch."""
    return pyro.plate(OBSERVATIONS, batch.n_observations, subsample=batch.index, dim=-1)


def plate_sites(trace: Any) -> list[str]:
    """Return the names of the sample sites inside the observation plate, in the model's order."""
    return [
        name
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and any(frame.name == OBSERVATIONS for frame in site["cond_indep_stack"])
    ]


def mean_counts(batch: Batch) -> Tensor:
    """Return the mean count of each feature over a batch, shape ``(G,)``."""
    return batch.counts.sum(0, keepdim=True).to_dense().squeeze(0) / len(batch)


def start_from_data(module: nn.Module, batch: Batch) -> None:
    """Let every part of a model or guide set parameters from a batch of training observations."""
    for part in module.modules():
        if isinstance(part, Configured):
            part.initialise(batch)


class Model(Configured, nn.Module, abc.ABC):
    """p(values, latents): a Pyro model of a batch.

    A subclass sets `n_features` and `numbers_per_draw` and defines `latents` and `forward`. The
    rest says what else a model can be asked, with the answer of a model that cannot.

    Attributes:
        n_features: Number ``G`` of features.
        numbers_per_draw: How many numbers the model computes for one draw of an observation's
            latents: it bounds the memory of everything that draws.
        holds_counts: Whether the observed site holds counts, so that its log-probability is that
            of counts and its draws are counts.
        given_library: Whether the model is given each observation's total count, and so does not
            have to explain it.
        scales_with_library: Whether a library size scales the expected counts.
        n_latent: Dimension ``L`` of the latent space, the site ``"z"``; None without one.
        rotation_invariant: Whether the prior of ``z`` is the same after any rotation.
        lumped_from: The count from which on all counts are taken as one; None for no such count.
    """

    n_features: int
    numbers_per_draw: int
    holds_counts: bool = True
    given_library: bool = False
    scales_with_library: bool = False
    n_latent: int | None = None
    rotation_invariant: bool = False
    lumped_from: int | None = None

    @property
    @abc.abstractmethod
    def latents(self) -> Sequence[Latent]:
        """The latent sites inside the observation plate, in the model's order."""

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Sample the latents and observe each table at the site of its name, by ``obs=``.

        Observed values must be read in no other way, so that replicates can be drawn; a model
        that does overrides `draw`.
        """

    @property
    def tables(self) -> Sequence[str]:
        """The names of the observed sites, and of the batch's tables that they observe."""
        return (COUNTS,)

    @property
    def title(self) -> str:
        """The model in a few words."""
        return type(self).__name__

    @property
    def is_exact(self) -> bool:
        """Whether every latent is summed out by the model, so that nothing is left to a guide."""
        return all(latent.states is not None for latent in self.latents)

    @torch.no_grad()
    def draw(
        self, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Draw from the model whatever is not given, observed sites included.

        Args:
            batch: The observations, of which only what the model is given (a library size) is
                read.
            num_samples: Number ``S`` of draws for each observation.
            given: Draws of latents to condition on. None: new observations from the model.

        Returns:
            Values of each site, shape ``(S, B, ...)``; counts are dense, ``(S, B, G)``.
        """
        unobserved = poutine.uncondition(pyro.plate("samples", num_samples, dim=-2)(self))
        conditioned = poutine.condition(unobserved, data=dict(given or {}))
        trace: Any = poutine.trace(conditioned).get_trace(batch)
        return {name: trace.nodes[name]["value"] for name in plate_sites(trace)}

    def rates(self, z: Tensor, library: Tensor | float | None) -> Tensor:  # noqa: ARG002
        """Return the expected counts decoded from latents, free of extra zeros.

        Args:
            z: Latents, shape ``(*batch, L)``.
            library: Library sizes in counts, shape ``(*batch, 1)``, or one for all; ignored by a
                model without.

        Returns:
            Shape ``(*batch, G)``.

        Raises:
            NotInModelError: The model has no latent space.
        """
        raise NotInModelError(
            f"{type(self).__name__} has no latent space: this needs a VAE or a GMVAE"
        )

    @property
    def mixture_prior(self) -> MixturePrior | None:
        """The mixture of Gaussians that is the prior of ``z``; None for another prior, or none."""
        return None

    def loadings(self) -> Tensor | None:
        """Return a linear decoder's centred loadings, shape ``(G, L)``; None for others."""
        return None

    @property
    def flips(self) -> bool:
        """Whether `flip` can change the signs of latents."""
        return False

    def flip(self, signs: Tensor) -> None:  # noqa: ARG002
        """Multiply the latents by signs, leaving the distribution of the counts as it is.

        Args:
            signs: 1 or -1 for each latent, shape ``(L,)``.
        """
        raise NotInModelError(f"{self.title} cannot change the signs of its latents")

    def plain_twin(self) -> Model | None:
        """Return a simpler model that shares all parameters but the prior's, to train first.

        None for a model that is trained as it is.
        """
        return None

    def start_from_latents(self, z: Tensor, seed: int) -> None:
        """Start the prior from latents that the plain twin has learnt.

        Args:
            z: Draws of the latents of training observations, shape ``(n, L)``.
            seed: Seed of all choices.
        """

    def share_posterior(self, posterior: Posterior) -> None:
        """Take the guide's map to q(z | x), for a prior that is made of it."""
