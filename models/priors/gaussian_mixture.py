"""The Gaussian mixture prior."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from .base import MixturePrior
from .clustering import count_groups, merged_gaussians
from .known_groups import known_groups
from .standard_normal import StandardNormal

# No weight falls below this fraction of 1 / K: the density of a Dirichlet with a concentration
# below 1 is unbounded at a weight of zero.
WEIGHT_FLOOR = 1e-3
SMALLEST_SCALE = 1e-2
# The logit of a component that starts without a group: its gradient vanishes, so it stays empty.
EMPTY_LOGIT = -1e4
WEIGHT_KINDS = ("learnt", "uniform")


class GaussianMixture(MixturePrior):
    """A mixture of diagonal Gaussians with learnt means, scales and weights.

    Args:
        n_latent: Dimension of the latents.
        n_components: Number of components.
        weights: "learnt", or "uniform" for weights fixed at ``1 / K``.
        concentration: Concentration of a symmetric Dirichlet prior on learnt weights, at the site
            ``"weights"``; training then finds their posterior mode. A concentration above 1 makes
            the weights more even. Below 1 the prior is sparse: ask for three times as many
            components as you expect, and with the marginal guide those stay empty for which the
            start finds no group. (The density alone prunes little: it has the weight of a handful
            of observations.) None: no prior.

    Raises:
        ValueError: Weights of another kind, a concentration that is not above 0 or that comes with
            uniform weights, or fewer than one component.
    """

    flips = True

    def __init__(
        self,
        n_latent: int = 10,
        n_components: int = 10,
        weights: str = "learnt",
        concentration: float | None = None,
    ) -> None:
        super().__init__()
        if weights not in WEIGHT_KINDS:
            raise ValueError(f"weights is {weights!r}: it must be one of {', '.join(WEIGHT_KINDS)}")
        if concentration is not None and (weights == "uniform" or concentration <= 0):
            raise ValueError("concentration must be above 0, and needs weights='learnt'")
        if n_components < 1:
            raise ValueError(f"n_components is {n_components}: it must be 1 or more")
        self.n_latent, self.n_components = n_latent, n_components
        self.weights, self.concentration = weights, concentration
        self.sparse = concentration is not None and concentration < 1
        self.loc = nn.Parameter(torch.randn(n_components, n_latent))
        self.log_scale = nn.Parameter(torch.full((n_components, n_latent), math.log(0.5)))
        self.logits = nn.Parameter(torch.zeros(n_components), requires_grad=weights == "learnt")

    def components(self) -> tuple[Tensor, Tensor]:
        """See `MixturePrior.components`."""
        return self.loc, self.log_scale.exp() + SMALLEST_SCALE

    def log_weights(self) -> Tensor:
        """See `MixturePrior.log_weights`."""
        if self.weights == "uniform":
            return self.logits.log_softmax(-1)
        floor = WEIGHT_FLOOR / self.n_components
        return torch.log(self.logits.softmax(-1) * (1 - WEIGHT_FLOOR) + floor)

    def hyperprior(self) -> None:
        """See `Prior.hyperprior`: the Dirichlet prior of the weights, if there is one."""
        if self.concentration is not None:
            concentration = self.logits.new_full((self.n_components,), self.concentration)
            pyro.sample("weights", dist.Dirichlet(concentration), obs=self.log_weights().exp())

    def plain(self) -> StandardNormal:
        """See `Prior.plain`: learnt from scratch, a mixture tends to use few components."""
        return StandardNormal(self.n_latent)

    def groups(self, z: Tensor, seed: int, known: Tensor | None = None) -> Tensor:
        """See `Prior.groups`: as many as components.

        They are those of `merged_gaussians`; where components are classes, those of `known_groups`.
        For a sparse prior there are as many as `count_groups` finds, and at least the classes.
        """
        points = z.double().cpu().numpy()
        n = count_groups(points, self.n_components, seed) if self.sparse else self.n_components
        if known is None:
            found = merged_gaussians(points, n, seed)
        else:
            codes = known.cpu().numpy()
            found = known_groups(points, codes, max(n, int(codes.max()) + 1), seed)
        return torch.as_tensor(found).to(z.device)

    @torch.no_grad()
    def flip(self, signs: Tensor) -> None:
        """See `Prior.flip`."""
        self.loc.mul_(signs)

    @torch.no_grad()
    def start_at(self, z: Tensor, shares: Tensor) -> None:
        """See `Prior.start_at`: at the means, variances and sizes of groups of latents.

        Args:
            z: Latents of training observations, shape ``(n, L)``.
            shares: The share of each group in each observation, shape ``(n, K)``. With fewer
                groups than ``K`` the other components start broad and empty.
        """
        z, shares = z.double(), shares.double()
        rest = self.n_components - shares.shape[1]
        weights = nn.functional.pad(shares.mean(0), (0, rest))
        shares = nn.functional.pad(shares, (0, rest), value=1.0)
        sizes = shares.sum(0).unsqueeze(-1).clamp_min(1e-9)
        loc = shares.T @ z / sizes
        variances = shares.T @ z**2 / sizes - loc**2
        self.loc.copy_(loc)
        self.log_scale.copy_(variances.clamp_min(0.01).sqrt().log())
        if self.weights == "learnt":
            self.logits.copy_(weights.log().clamp_min(EMPTY_LOGIT))
