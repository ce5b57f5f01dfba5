"""The library size: how many counts an observation has to share out among its features."""

from __future__ import annotations

from abc import abstractmethod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.config import Configured


class Library(Configured, nn.Module):
    """Gives each observation's library size, inside the observation plate.

    Attributes:
        scales: Whether there is a library size that scales the expected counts.
        latent: Whether the library size is a latent, the site ``"library"``.
    """

    scales: bool = True
    latent: bool = False

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor | None:
        """Library sizes in counts, shape ``(*batch, 1)``, or None for a model without."""


class NoLibrary(Library):
    """No library size: the decoder gives the expected counts themselves, on the log scale."""

    scales = False

    def forward(self, batch: Batch) -> None:
        """See `Library.forward`."""


class ObservedLibrary(Library):
    """The observed total count of each observation."""

    def forward(self, batch: Batch) -> Tensor:
        """See `Library.forward`."""
        return batch.library.unsqueeze(-1)


class LatentLibrary(Library):
    """A latent library size with an empirical log-normal prior, site ``"library"``.

    The prior's mean and variance are those of the log total counts of the training data, as in
    scVI (Lopez et al. 2018).
    """

    latent = True
    loc: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def initialise(self, batch: Batch) -> None:
        """Fits the prior to the library sizes of training observations (empty ones left out)."""
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
