"""The amortised Gaussian guide with a full covariance."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.guides.amortised import AmortisedGuide
from vae4counts.guides.gaussian import GaussianGuide
from vae4counts.guides.heads import GaussianHead, Head
from vae4counts.models.numerics import at_least_float32


class FullCovarianceHead(Head):
    r"""Means and triangular factors of Gaussians, which may depend on numbers drawn before them.

    A Gaussian is ``mu + C e`` with standard normal ``e``, of which the first ``n_before`` numbers
    are known and the others are its own. In the latter's columns ``C`` is lower triangular with a
    positive diagonal ``s``; it is ``diag(s)`` at first, so that training starts at independent
    Gaussians.

    Args:
        n_inputs: Number of features.
        n_latent: Dimension ``L`` of a Gaussian.
        n_before: How many numbers are drawn before it.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, n_inputs: int, n_latent: int, n_before: int) -> None:
        super().__init__()
        self.n_before = n_before
        self.gaussian = GaussianHead(n_inputs, n_latent)
        left = torch.tril_indices(n_latent, n_before + n_latent, offset=n_before - 1)
        for name, index in zip(("rows", "columns"), left, strict=True):
            self.register_buffer(name, index, persistent=False)
        self.weight = nn.Parameter(torch.zeros(left.shape[1], n_inputs))
        self.bias = nn.Parameter(torch.zeros(left.shape[1]))

    @torch.no_grad()
    def flip(self, signs: Tensor) -> None:
        """See `Head.flip`: an entry of ``C`` changes its sign with its row, and with its column."""
        self.gaussian.flip(signs)
        of_columns = torch.cat([signs.new_ones(self.n_before), signs])
        changes = signs[self.rows] * of_columns[self.columns] < 0
        for parameter in (self.weight, self.bias):
            parameter[changes] *= -1

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features ``(*batch, n_inputs)`` to ``mu``, ``(*batch, L)``, and ``C``.

        ``C`` has shape ``(*batch, L, n_before + L)``.
        """
        loc, scale = self.gaussian(features)
        left = at_least_float32(nn.functional.linear(features, self.weight, self.bias))
        factor = torch.diag_embed(torch.ones_like(loc))
        factor = nn.functional.pad(factor, (self.n_before, 0))
        factor[..., self.rows, self.columns] = left
        return loc, factor * scale.unsqueeze(-1)


class FullCovarianceGuide(AmortisedGuide, GaussianGuide):
    r"""``q(z | x) = N(mu(x), C(x) C(x)^T)``, with a lower triangular ``C``.

    If the library size is latent, its logarithm and ``z`` are jointly Gaussian: the mean of
    ``q(z | x, library)`` moves in proportion to the log-library. A mixture's component is summed
    out: see `AmortisedGuide`, also for the arguments.
    """

    head: FullCovarianceHead

    def make_head(self, n_inputs: int) -> FullCovarianceHead:
        """See `AmortisedGuide.make_head`."""
        return FullCovarianceHead(n_inputs, self.n_latent, int(self.latent_library))

    def distribution(
        self, features: Tensor, library_noise: Tensor | None
    ) -> dist.MultivariateNormal:
        """See `AmortisedGuide.distribution`."""
        loc, factor = self.head(features)
        if library_noise is not None:
            loc = loc + factor[..., 0] * library_noise.unsqueeze(-1)
        return dist.MultivariateNormal(loc, scale_tril=factor[..., self.head.n_before :])

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """See `GaussianGuide.posterior`: of each latent alone, whatever the library size."""
        loc, factor = self.head(self.encoder(counts))
        return loc, factor.norm(dim=-1)
