"""The base class of guides whose q(z | x) is read off an encoder of the counts."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyro
import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide, sampled_sites
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.heads import Head, LibraryHead
from vae4counts.models.base import Model, observations
from vae4counts.models.covariates import Covariates


class AmortisedGuide(Guide, abc.ABC):
    """``q(z | x)``, or ``q(library | x) q(z | x, library)``, read off an encoder's features.

    For a mixture prior the model's component is enumerated and summed out exactly,
    ``log sum_k pi_k p(z | k)``: a step costs one decoder pass whatever ``K`` is, and there is no
    network ``q(component | x)`` that could collapse. The component's posterior follows from Bayes'
    rule. A subclass says what family ``q(z | x)`` is of: `make_head` and `distribution`.

    Args:
        n_features: Number ``G`` of features.
        n_latent: Dimension ``L`` of the latents.
        latent_library: Whether the model's library size is latent.
        encoder: The encoder. `Encoder` with its defaults if None.
    """

    def __init__(
        self,
        n_features: int,
        n_latent: int,
        latent_library: bool = False,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.n_features, self.n_latent = n_features, n_latent
        self.latent_library = latent_library
        self.encoder = Encoder() if encoder is None else encoder
        self.encoder.build(n_features)
        self.head = self.make_head(self.encoder.hidden[-1])
        self.library_head = LibraryHead(self.encoder.hidden[-1]) if latent_library else None

    @abc.abstractmethod
    def make_head(self, n_inputs: int) -> Head:
        """Make the network from ``n_inputs`` features to what q(z | x) is made of."""

    @abc.abstractmethod
    def distribution(self, features: Tensor, library_noise: Tensor | None) -> Any:
        """Return q(z | x, library), a Pyro distribution of event shape ``(L,)``.

        Args:
            features: The encoder's, shape ``(B, H)``.
            library_noise: The standardised logarithm of the library size, shape ``(*batch,)``: see
                `LibraryHead`. None for a model whose library size is not latent.
        """

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model of one table that leaves ``z``, and maybe ``library``."""
        has_one = model.n_latent is not None and len(model.tables) == 1
        return has_one and {"z"} <= sampled_sites(model) <= {"z", "library"}

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> AmortisedGuide:
        """See `Guide.for_model`."""
        (inputs,) = model.encoder_inputs.values()
        return cls(
            model.n_features,
            cast(int, model.n_latent),
            latent_library="library" in sampled_sites(model),
            encoder=(encoder or Encoder()).suited_to(inputs),
        )

    @property
    def covariates(self) -> Covariates:
        """See `Guide.covariates`: those of the encoder."""
        return self.encoder.covariates

    @property
    def sites(self) -> Sequence[str]:
        """See `Guide.sites`."""
        return ("library", "z") if self.latent_library else ("z",)

    def made_for(self, model: Model) -> Iterable[tuple[str, object, object]]:
        """See `Guide.made_for`."""
        yield "n_features", self.n_features, model.n_features
        yield "n_latent", self.n_latent, model.n_latent
        yield "latent_library", self.latent_library, "library" in sampled_sites(model)

    @property
    def flips(self) -> bool:
        """See `Guide.flips`."""
        return True

    def flip(self, signs: Tensor) -> None:
        """See `Guide.flip`."""
        self.head.flip(signs)

    def forward(self, batch: Batch) -> Tensor:
        """See `Guide.forward`."""
        features = self.encoder(batch.counts, batch.covariates)
        with observations(batch):
            noise = None if self.library_head is None else self.library_head(features, batch)
            z = self.distribution(features, noise)
            # a product of noise and covariance would be rounded to bfloat16
            with torch.autocast(features.device.type, enabled=False):
                return pyro.sample("z", z)
