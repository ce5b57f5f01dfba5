"""Neural spline flows that start near the identity."""

from __future__ import annotations

from typing import Any

import torch
import zuko
from torch import Tensor, nn

from vae4counts.models.numerics import at_least_float32

# The masks of a flow's networks grow with the square of the latents.
MOST_LATENTS = 1000
# The last layers of the networks are multiplied by this: the flow starts near the identity.
FIRST_OUTPUTS = 0.1


class _InFloat32(nn.Module):
    """A network that computes in float32 at least: its outputs are part of a density."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return self.network(at_least_float32(inputs))


def check_latents(n_latent: int) -> None:
    """Check that a flow can have so many latents.

    Raises:
        ValueError: There are none, or too many.
    """
    if not 1 <= n_latent <= MOST_LATENTS:
        raise ValueError(f"n_latent is {n_latent}: a flow takes 1 to {MOST_LATENTS:,}")


def spline_flow(n_latent: int, n_context: int, transforms: int) -> Any:
    """Make an autoregressive neural spline flow (Durkan et al. 2019) by zuko.

    Args:
        n_latent: Dimension ``L``.
        n_context: How many numbers it depends on.
        transforms: Number of transforms, one after the other.

    Returns:
        A lazy distribution of zuko's, near the standard normal.

    Raises:
        ValueError: There are no latents, or too many.
    """
    check_latents(n_latent)
    # masks are made from numbers, which the device "meta" does not have: see `Run.load`
    with torch.device("cpu"):
        flow = zuko.flows.NSF(n_latent, n_context, transforms=transforms)
    for step in flow.transform.transforms:
        # a single latent that depends on nothing has no network
        network = getattr(step, "hyper", None)
        last = step.phi if network is None else network[-1]
        with torch.no_grad():
            for parameter in last.parameters():
                parameter *= FIRST_OUTPUTS
        if network is not None:
            step.hyper = _InFloat32(network)
    return flow
