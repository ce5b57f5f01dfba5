"""Gaussian posteriors of latents and of the log library size, read off an encoder's features."""

from __future__ import annotations

import abc

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.library import LIBRARY
from vae4counts.models.numerics import at_least_float32

# Added to standard deviations: a posterior of no width has no density.
SMALLEST_SCALE = 1e-4


class Head(nn.Module, abc.ABC):
    """A network that maps an encoder's features to what a distribution of ``z`` is made of."""

    @abc.abstractmethod
    def flip(self, signs: Tensor) -> None:
        """Multiply every ``L`` latents by signs, 1 or -1, shape ``(L,)``."""


class GaussianHead(Head):
    """Means and standard deviations of ``n_gaussians`` independent Gaussians."""

    def __init__(self, n_inputs: int, n_gaussians: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_gaussians)

    @torch.no_grad()
    def flip(self, signs: Tensor) -> None:
        """See `Head.flip`: the means change their signs."""
        for parameter in self.linear.parameters():
            # the first half of the outputs are the means
            means = parameter.chunk(2)[0].unflatten(0, (-1, len(signs))).transpose(0, 1)
            means[signs < 0] *= -1

    @torch.no_grad()
    def turn(self, axes: Tensor) -> None:
        """Express the Gaussians of ``z`` in other axes, as those of ``z @ axes``.

        Turned, the latents are not independent in general, so only their means are exact. The
        standard deviation along an axis becomes a mean of those before, weighted by the squares
        of the axis: what the last layer says of them is averaged, so that no data are needed.

        Args:
            axes: An orthogonal matrix, shape ``(L, L)`` for ``L`` Gaussians.
        """
        for parameter in self.linear.parameters():
            for part, weights in zip(parameter.chunk(2), (axes, axes**2), strict=True):
                part.copy_(weights.T @ part)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features ``(*batch, n_inputs)`` to two tensors ``(*batch, n_gaussians)``."""
        outputs = at_least_float32(self.linear(features))
        loc, raw = outputs.chunk(2, dim=-1)
        return loc, nn.functional.softplus(raw) + SMALLEST_SCALE


class LibraryHead(nn.Module):
    r"""The posterior of a latent library size, ``LogNormal(log n + a(x), s(x))``.

    ``n`` is the observed total count: the network learns only the deviation from it.
    """

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.head = GaussianHead(n_inputs, 1)

    def log_moments(self, features: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of log library sizes, shape ``(*batch,)`` each.

        Args:
            features: The encoder's, shape ``(*batch, n_inputs)``.
            totals: Total counts ``n``, shape ``(*batch,)``.
        """
        deviation, scale = (part.squeeze(-1) for part in self.head(features))
        return totals.clamp_min(1.0).log() + deviation, scale

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """Sample library sizes of the only table inside the observation plate.

        Returns:
            How many standard deviations their logarithms lie from their means, shape ``(*batch,)``.
        """
        loc, scale = self.log_moments(features, batch.library)
        library = pyro.sample(LIBRARY, dist.LogNormal(loc, scale))
        return (library.log() - loc) / scale
