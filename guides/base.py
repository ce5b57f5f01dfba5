"""The base class of guides: q(latents | values), sampling the sites that are not summed out.

A new guide is a subclass of `Guide`. A line in ``registry.py`` makes it known to `guide_for` and
the command line, and has the generic tests cover it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.encoder import Encoder
from vae4counts.models.base import Model
from vae4counts.models.config import Configured
from vae4counts.models.covariates import Columns, Covariates


class IncompatiblePairError(ValueError):
    """A model and a guide that do not fit together."""


def sampled_sites(model: Model) -> set[str]:
    """Return the names of the latents that a guide must sample: those that are not enumerated."""
    return {latent.name for latent in model.latents if latent.states is None}


class Guide(Configured, nn.Module, abc.ABC):
    """q(latents | values): a Pyro guide of a batch.

    Attributes:
        reads_tables: Whether it encodes whatever tables a batch holds, as amortised guides do.
    """

    reads_tables: bool = True

    @classmethod
    @abc.abstractmethod
    def fits(cls, model: Model) -> bool:
        """Whether a guide of this class can sample what the model leaves to it."""

    @classmethod
    @abc.abstractmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> Guide:
        """Make an untrained guide for a model that it `fits`.

        Args:
            model: The model.
            encoder: The encoder. The default if None; ignored by a guide without an encoder.
        """

    @property
    @abc.abstractmethod
    def sites(self) -> Sequence[str]:
        """The names of the sites that `forward` samples."""

    @property
    def covariates(self) -> Covariates:
        """What the guide is told about each observation beside its counts; nothing by default."""
        return Covariates()

    def learn_covariates(self, columns: Columns) -> None:
        """Let all copies of these covariates take scales and frequencies: `Covariates.learn`."""
        self.covariates.learn(columns)

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Tensor | None:
        """Sample the `sites` inside the plate `vae4counts.models.observations`."""

    def made_for(self, model: Model) -> Iterable[tuple[str, object, object]]:  # noqa: ARG002
        """Yield each size that the guide depends on: its name, the guide's value, the model's."""
        return ()

    def check(self, model: Model) -> None:
        """Check that the guide can be trained with a model.

        Raises:
            IncompatiblePairError: It does not fit, or was made for a model of other sizes.
        """
        if not self.fits(model):
            left = ", ".join(sorted(sampled_sites(model))) or "nothing"
            raise IncompatiblePairError(
                f"{type(self).__name__} does not fit {model.title}: it samples "
                f"{', '.join(self.sites) or 'nothing'}, and the model leaves {left} to a guide; "
                "guide_for(model) makes one that fits"
            )
        for name, own, wanted in self.made_for(model):
            if own != wanted:
                raise IncompatiblePairError(
                    f"the guide was made for {name}={own} but the model has {wanted}: "
                    "make it with guide_for(model)"
                )

    def attach(self, model: Model) -> None:
        """Give the model what it shares with the guide. Does nothing unless overridden."""

    @property
    def flips(self) -> bool:
        """Whether `flip` can change the signs of latents."""
        return False

    def flip(self, signs: Tensor) -> None:
        """Multiply ``z`` by signs, shape ``(L,)``; only for a guide with `flips`."""
        raise NotImplementedError(f"{type(self).__name__} cannot change the signs of its latents")

    @property
    def turns(self) -> bool:
        """Whether `turn` can express the latents in other axes."""
        return False

    def turn(self, axes: Tensor) -> None:
        """Express ``z`` in other axes, as ``z @ axes``, as well as the family of q(z | x) allows.

        Args:
            axes: An orthogonal matrix, an axis a column, shape ``(L, L)``; only for a guide with
                `turns`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot turn its latents to other axes")
