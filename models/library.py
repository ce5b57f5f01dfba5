"""The library size: the expected total count of an observation."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.base import Latent
from vae4counts.models.config import Configured


class Library(Configured, nn.Module, abc.ABC):
    """The library size of each observation.

    Attributes:
        scales: Whether there is a library size, which scales the expected counts.
        given: Whether it is the observed total count, which the model then does not explain.
        latents: The sites that `forward` samples.
    """

    scales: bool = True
    given: bool = False
    latents: Sequence[Latent] = ()

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Tensor | None:
        """Return library sizes in counts, shape ``(*batch, 1)``, or None for no library size.

        Called inside the observation plate.
        """


class NoLibrary(Library):
    """No library size: the decoder gives the expected counts themselves, on the log scale."""

    scales = False

    def forward(self, batch: Batch) -> None:
        """See `Library.forward`."""


class ObservedLibrary(Library):
    """The observed total count of each observation."""

    given = True

    def forward(self, batch: Batch) -> Tensor:
        """See `Library.forward`."""
        return batch.library.unsqueeze(-1)


class LatentLibrary(Library):
    """A latent library size with an empirical log-normal prior, site ``"library"``.

    The prior's mean and variance are those of the log total counts of the training data, as in
    scVI (Lopez et al. 2018).
    """

    latents = (Latent("library"),)
    loc: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def initialise(self, batch: Batch) -> None:
        """Fit the prior to the library sizes of training observations that have counts."""
        log_library = batch.library[batch.library > 0].log()
        if len(log_library) == 0:
            return
        self.loc.fill_(log_library.mean())
        self.scale.fill_(log_library.std(correction=0).clamp_min(0.01))

    def forward(self, batch: Batch) -> Tensor:  # noqa: ARG002
        """See `Library.forward`."""
        return pyro.sample("library", dist.LogNormal(self.loc, self.scale)).unsqueeze(-1)


LIBRARIES: dict[str | None, type[Library]] = {
    "observed": ObservedLibrary,
    "latent": LatentLibrary,
    None: NoLibrary,
}
