"""The library size: the expected total count of an observation."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.config import Configured
from vae4counts.models.covariates import levels_by
from vae4counts.models.sites import Latent

LIBRARY = "library"
"""The site of the latent library size of a model's only table."""

# The moments of fewer observations are no moments of a level.
FEWEST_IN_LEVEL = 10


def library_site(table: str) -> str:
    """Return the name of the site of the latent library size of one of several tables."""
    return f"{table}_{LIBRARY}"


class Library(Configured, nn.Module, abc.ABC):
    """The library size of each observation.

    Attributes:
        scales: Whether there is a library size, which scales the expected counts.
        given: Whether it is the observed total count, which the model then does not explain.
        site: The name of the site of a latent one, which the model sets.
    """

    scales: bool = True
    given: bool = False
    site: str = LIBRARY

    @property
    def latents(self) -> Sequence[Latent]:
        """The sites that `forward` samples: none unless overridden."""
        return ()

    @property
    def typical(self) -> Tensor:
        """The geometric mean of the training observations' library sizes; 1 if not known."""
        return torch.ones(())

    def build(self, n_levels: Mapping[str, int]) -> None:
        """Make what depends on the model's covariates. Called once, by the model.

        Args:
            n_levels: The number of levels of each categorical covariate.
        """

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Tensor | None:
        """Return library sizes in counts, shape ``(*batch, 1)``, or None for no library size.

        Called inside the observation plate.

        Args:
            batch: The observations: those that have the table, with it alone. A library with
                `latents` is given all, and samples a size for each at its `site`.
        """


class NoLibrary(Library):
    """No library size: the decoder gives the expected counts themselves, on the log scale."""

    scales = False

    def forward(self, batch: Batch) -> None:
        """See `Library.forward`."""


class ObservedLibrary(Library):
    """The observed total count of each observation."""

    given = True
    geometric_mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("geometric_mean", torch.ones(()))

    @property
    def typical(self) -> Tensor:
        """See `Library.typical`."""
        return self.geometric_mean

    def initialise(self, batch: Batch) -> None:
        """Remember the library sizes of training observations that have counts."""
        has_counts = batch.library > 0
        if has_counts.any():
            self.geometric_mean.copy_(batch.library[has_counts].log().mean().exp())

    def forward(self, batch: Batch) -> Tensor:
        """See `Library.forward`."""
        return batch.library.unsqueeze(-1)


class LatentLibrary(Library):
    """A latent library size with an empirical log-normal prior.

    Its site is ``"library"``, or of one of several tables ``"rna_library"``. Of an observation
    that lacks the table the prior is all that is known.

    The prior's mean and variance are those of the log total counts of the training data, as in
    scVI (Lopez et al. 2018).

    Args:
        by: The name of a categorical covariate each level of which has its own prior (that of all
            observations for a level of fewer than ten); None for one prior.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, by: str | None = None) -> None:
        super().__init__()
        self.by = by
        self.register_buffer("loc", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @property
    def latents(self) -> Sequence[Latent]:
        """See `Library.latents`."""
        return (Latent(self.site),)

    @property
    def typical(self) -> Tensor:
        """See `Library.typical`: of an average level."""
        return self.loc.mean().exp()

    def build(self, n_levels: Mapping[str, int]) -> None:
        """See `Library.build`: make a prior for each level.

        Raises:
            ValueError: The model has no such categorical covariate.
        """
        if self.by is not None:
            n = levels_by(self.by, n_levels)
            self.loc, self.scale = torch.zeros(n), torch.ones(n)

    def initialise(self, batch: Batch) -> None:
        """Fit the prior to the library sizes of training observations that have counts."""
        has_counts = batch.library > 0
        if not has_counts.any():
            return
        log_library = batch.library[has_counts].log()
        self._set((), log_library)
        if self.by is not None:
            levels = batch.covariates[self.by][has_counts]
            for level in levels.unique():
                own = log_library[levels == level]
                if len(own) >= FEWEST_IN_LEVEL:
                    self._set(level, own)

    def log_moments(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the log library size by the prior.

        Args:
            batch: The observations, of which the covariates alone are read.

        Returns:
            Shape ``(B,)``, or ``()`` where they are the same for all.
        """
        if self.by is None:
            return self.loc, self.scale
        levels = batch.covariates[self.by]
        return self.loc[levels], self.scale[levels]

    def forward(self, batch: Batch) -> Tensor:
        """See `Library.forward`."""
        return pyro.sample(self.site, dist.LogNormal(*self.log_moments(batch))).unsqueeze(-1)

    def _set(self, level: Tensor | tuple[()], log_library: Tensor) -> None:
        self.loc[level] = log_library.mean()
        self.scale[level] = log_library.std(correction=0).clamp_min(0.01)


LIBRARIES: dict[str | None, type[Library]] = {
    "observed": ObservedLibrary,
    "latent": LatentLibrary,
    None: NoLibrary,
}
