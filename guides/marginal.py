"""The amortised Gaussian guide with independent latents."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from vae4counts.guides.amortised import AmortisedGuide
from vae4counts.guides.gaussian import GaussianGuide
from vae4counts.guides.heads import GaussianHead


class MarginalGuide(AmortisedGuide, GaussianGuide):
    r"""``q(z | x) = N(mu(x), diag sigma(x)^2)``, and ``q(library | x)`` if that is latent.

    For a prior without components it is the usual amortised guide (Kingma & Welling 2014). A
    mixture's component is summed out: see `AmortisedGuide`, also for the arguments.
    """

    head: GaussianHead

    def make_head(self, n_inputs: int) -> GaussianHead:
        """See `AmortisedGuide.make_head`."""
        return GaussianHead(n_inputs, self.n_latent)

    def distribution(self, features: Tensor, library_noise: Tensor | None) -> dist.Independent:  # noqa: ARG002
        """See `AmortisedGuide.distribution`: the library size changes nothing."""
        return dist.Normal(*self.head(features)).to_event(1)

    @property
    def turns(self) -> bool:
        """See `Guide.turns`: unless the head is frozen."""
        return all(parameter.requires_grad for parameter in self.head.parameters())

    def turn(self, axes: Tensor) -> None:
        """See `Guide.turn`: means are turned, and standard deviations averaged."""
        self.head.turn(axes)

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """See `GaussianGuide.posterior`."""
        return self.head(self.encoder(counts))
