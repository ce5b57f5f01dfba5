"""The amortised guide that is a normalising flow."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Transform, constraints

from vae4counts.guides.amortised import AmortisedGuide
from vae4counts.guides.heads import GaussianHead, Head
from vae4counts.models.base import Model
from vae4counts.models.networks.flows import check_latents, spline_flow
from vae4counts.models.numerics import at_least_float32

TRANSFORMS = 2
# What the flow's networks read of the encoder's features: so many linear combinations of them.
N_CONTEXT = 32


class _Remembered(Transform):
    """A transform that keeps its last value: the density of what was drawn needs no inversion."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, transform: Transform) -> None:
        super().__init__(cache_size=1)
        self.transform: Any = transform  # zuko gives all transforms `call_and_ladj`

    def _call(self, x: Tensor) -> Tensor:
        y, self.log_slope = self.transform.call_and_ladj(x)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x = self.transform.inv(y)
        self._call(x)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        self(x)  # computes nothing if `x` is the last one
        return self.log_slope


class FlowHead(Head):
    r"""Normalising flows ``z = mu + s T(e)`` of standard normal ``e``.

    ``T`` is a neural spline flow (Durkan et al. 2019), autoregressive in ``e``, so that drawing
    takes one pass (Kingma et al. 2016).

    Args:
        n_inputs: Number of features.
        n_latent: Dimension ``L`` of ``z``.
        n_before: How many numbers drawn before it ``T`` depends on.

    Raises:
        ValueError: There are no latents, or too many.
    """

    signs: Tensor

    def __init__(self, n_inputs: int, n_latent: int, n_before: int) -> None:
        super().__init__()
        check_latents(n_latent)
        self.gaussian = GaussianHead(n_inputs, n_latent)
        self.context = nn.Linear(n_inputs, N_CONTEXT)
        self.transform = spline_flow(n_latent, N_CONTEXT + n_before, TRANSFORMS).transform
        self.register_buffer("signs", torch.ones(n_latent))

    def flip(self, signs: Tensor) -> None:
        """See `Head.flip`."""
        self.gaussian.flip(signs)
        self.signs *= signs

    def forward(self, features: Tensor, before: Tensor) -> dist.TransformedDistribution:
        """Map features ``(*batch, n_inputs)``, and the numbers drawn before, to a flow.

        Args:
            features: Shape ``(*batch, n_inputs)``.
            before: Shape ``(*batch, n_before)``.
        """
        loc, scale = self.gaussian(features)
        shape = before.shape[:-1]
        context = at_least_float32(self.context(features)).expand(*shape, -1)
        bent = _Remembered(self.transform(torch.cat([context, before], -1)))
        standard = dist.Normal(torch.zeros_like(loc), 1.0).expand((*shape, loc.shape[-1]))
        moved = AffineTransform(loc, self.signs * scale, event_dim=1, cache_size=1)
        return dist.TransformedDistribution(standard.to_event(1), [bent, moved])


class FlowGuide(AmortisedGuide):
    r"""``q(z | x)`` is a normalising flow of a Gaussian, by `zuko <https://zuko.readthedocs.io>`_.

    It can be skewed, curved, or have several modes, and has no mean in closed form. If the library
    size is latent, the flow depends on it. A mixture's component is summed out: see
    `AmortisedGuide`, also for the arguments.
    """

    head: FlowHead

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a prior that is made of q(z | x) would need its mean and variance."""
        mixture = model.mixture_prior
        return super().fits(model) and not (mixture is not None and mixture.needs_posterior)

    def make_head(self, n_inputs: int) -> FlowHead:
        """See `AmortisedGuide.make_head`."""
        return FlowHead(n_inputs, self.n_latent, int(self.latent_library))

    def distribution(
        self, features: Tensor, library_noise: Tensor | None
    ) -> dist.TransformedDistribution:
        """See `AmortisedGuide.distribution`."""
        if library_noise is None:
            return self.head(features, features.new_empty(*features.shape[:-1], 0).float())
        return self.head(features, library_noise.unsqueeze(-1))
