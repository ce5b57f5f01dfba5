"""The joint guide: a network for the component and a Gaussian for each component."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide, sampled_sites
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.heads import GaussianHead, LibraryHead
from vae4counts.models.base import Model, observations
from vae4counts.models.covariates import Covariates
from vae4counts.models.numerics import at_least_float32
from vae4counts.models.priors import MixturePrior

CONDITIONINGS = ("selection", "addition")


class JointGuide(Guide):
    r"""``q(y | x) q(z | x, y)``, with the component ``y`` enumerated in the guide.

    The guide of the seed project and of scVAE (Grønbech et al. 2020). Each component has its own
    ``z``: a step costs ``K`` decoder passes.

    Args:
        n_features: Number ``G`` of features.
        n_latent: Dimension ``L`` of the latents.
        n_components: Number ``K`` of components.
        latent_library: Whether the model's library size is latent.
        conditioning: How ``q(z | x, y)`` depends on ``y``: by "selection" of one of ``K`` heads, or
            by "addition" of the component's embedding to the features that one head reads.
        encoder: The encoder. `Encoder` with its defaults if None.

    Raises:
        ValueError: An unknown conditioning.
    """

    def __init__(
        self,
        n_features: int,
        n_latent: int,
        n_components: int,
        latent_library: bool = False,
        conditioning: str = "selection",
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        if conditioning not in CONDITIONINGS:
            known = ", ".join(CONDITIONINGS)
            raise ValueError(f"conditioning is {conditioning!r}: it must be one of {known}")
        self.n_features, self.n_latent, self.n_components = n_features, n_latent, n_components
        self.latent_library, self.conditioning = latent_library, conditioning
        self.encoder = Encoder() if encoder is None else encoder
        self.encoder.build(n_features)
        width = self.encoder.hidden[-1]
        self.component_head = nn.Linear(width, n_components)
        if conditioning == "selection":
            self.embedding = None
            self.head = GaussianHead(width, n_components * n_latent)
        else:
            self.embedding = nn.Parameter(torch.randn(n_components, width) * 0.1)
            self.head = GaussianHead(width, n_latent)
        self.library_head = LibraryHead(width) if latent_library else None

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model of one table, with a mixture prior not made of q(z | x).

        A model with labels is left out, whose components q(component | x) knows nothing of.
        """
        mixture = model.mixture_prior
        if mixture is None or mixture.needs_posterior or model.labels is not None:
            return False
        if len(model.tables) > 1:
            return False
        return {site.name for site in model.latents} <= {"component", "z", "library"}

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> JointGuide:
        """See `Guide.for_model`."""
        mixture = cast(MixturePrior, model.mixture_prior)
        (inputs,) = model.encoder_inputs.values()
        return cls(
            model.n_features,
            mixture.n_latent,
            mixture.n_components,
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
        return (*(("library",) if self.latent_library else ()), "component", "z")

    def made_for(self, model: Model) -> Iterable[tuple[str, object, object]]:
        """See `Guide.made_for`."""
        states = {latent.name: latent.states for latent in model.latents}
        yield "n_features", self.n_features, model.n_features
        yield "n_latent", self.n_latent, model.n_latent
        yield "n_components", self.n_components, states.get("component")
        yield "latent_library", self.latent_library, "library" in states

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
        logits = at_least_float32(self.component_head(features))
        loc, scale = self.posteriors(features)
        with observations(batch):
            if self.library_head is not None:
                self.library_head(features, batch)
            component = pyro.sample(
                "component", dist.Categorical(logits=logits), infer={"enumerate": "parallel"}
            )
            rows = torch.arange(len(batch), device=component.device)
            chosen = dist.Normal(loc[rows, component], scale[rows, component])
            return pyro.sample("z", chosen.to_event(1))

    def posteriors(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of q(z | x, y) for every y, each ``(B, K, L)``."""
        if self.embedding is not None:
            loc, scale = self.head(torch.relu(features.unsqueeze(1) + self.embedding))
            return loc, scale
        loc, scale = self.head(features)
        shape = (self.n_components, self.n_latent)
        return loc.unflatten(-1, shape), scale.unflatten(-1, shape)
