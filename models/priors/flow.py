"""The prior that is a normalising flow."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor
from torch.distributions import AffineTransform
from zuko.distributions import NormalizingFlow
from zuko.transforms import ComposedTransform

from vae4counts.models.networks.flows import spline_flow

from .base import Prior


class FlowPrior(Prior):
    r"""A neural spline flow (Durkan et al. 2019), by `zuko <https://zuko.readthedocs.io>`_.

    .. math:: \log p(z) = \log N(T(z); 0, I) + \log |\det \partial T / \partial z|

    ``T`` is autoregressive in ``z``: the density, which training needs, takes one pass, a draw as
    many passes as there are latents. It starts near the identity, so that the prior starts near
    the standard normal, and can become curved or have several modes where the posteriors of the
    data do (compare Chen et al. 2017).

    Args:
        n_latent: Dimension of the latents.
        transforms: Number of transforms that make up ``T``.

    Raises:
        ValueError: There is no transform.
    """

    flips = True
    signs: Tensor

    def __init__(self, n_latent: int = 10, transforms: int = 2) -> None:
        super().__init__()
        if transforms < 1:
            raise ValueError(f"transforms is {transforms}: it must be 1 or more")
        self.n_latent, self.transforms = n_latent, transforms

    def build(self, n_features: int) -> None:
        """See `Prior.build`: make the flow."""
        super().build(n_features)
        self.flow = spline_flow(self.n_latent, 0, self.transforms)
        self.register_buffer("signs", torch.ones(self.n_latent))

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        return pyro.sample("z", ZukoToPyro(self._distribution()))

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return self._distribution().log_prob(z)

    @torch.no_grad()
    def flip(self, signs: Tensor) -> None:
        """See `Prior.flip`."""
        self.signs *= signs

    def _distribution(self) -> Any:
        flow = self.flow()
        mirror = AffineTransform(0.0, self.signs, event_dim=1)
        return NormalizingFlow(ComposedTransform(mirror, flow.transform), flow.base)
