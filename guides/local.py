"""The guide of certain observations: each has a posterior of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints
from torch.distributions.transforms import ReshapeTransform

from vae4counts.data.counts.batch import Batch
from vae4counts.guides.base import Guide, IncompatiblePairError, sampled_sites
from vae4counts.guides.encoder import Encoder
from vae4counts.models.base import Model, observations


@dataclass(frozen=True, slots=True)
class Block:
    """A site's part of the vector ``u`` of all latents of an observation, real numbers each.

    Attributes:
        size: How many of the numbers are the site's.
        transforms: What makes the site's value of them, one after the other; none for a vector of
            real numbers.
    """

    size: int
    transforms: tuple[Transform, ...] = ()

    @classmethod
    def of(cls, support: constraints.Constraint, shape: torch.Size) -> Block:
        """Return the block of a site.

        Args:
            support: The values that the site may have, such as positive numbers.
            shape: The shape of a value.
        """
        to_support = biject_to(support)
        free = torch.Size(to_support.inverse_shape(shape))
        transforms: tuple[Transform, ...] = ()
        if len(free) != 1:
            transforms += (ReshapeTransform(torch.Size([free.numel()]), free),)
        if getattr(support, "base_constraint", support) is not constraints.real:
            transforms += (to_support,)
        return cls(free.numel(), transforms)

    def site(self, of_numbers: dist.TorchDistribution) -> dist.TorchDistribution:
        """Return the distribution of the site's values, given that of its part of ``u``."""
        if not self.transforms:
            return of_numbers
        return dist.TransformedDistribution(of_numbers, list(self.transforms))

    def value(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the site's value, and the logarithm of its Jacobian determinant.

        Args:
            numbers: The site's part of ``u``, shape ``(*batch, size)``.

        Returns:
            Shapes ``(*batch, *shape)`` and ``(*batch,)``.
        """
        log_det = numbers.new_zeros(numbers.shape[:-1])
        for transform in self.transforms:
            value = transform(numbers)
            log_det = log_det + transform.log_abs_det_jacobian(numbers, value)
            numbers = value
        return numbers, log_det

    def numbers(self, value: Tensor) -> Tensor:
        """Return the site's part of ``u``, shape ``(*batch, size)``: the inverse of `value`."""
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return value


def site_values(blocks: Mapping[str, Block], numbers: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the value of each site, and the logarithm of the Jacobian determinant of them all.

    Args:
        blocks: The sites, in order.
        numbers: Points ``u``, shape ``(*batch, D)``.

    Returns:
        Values by site, ``(*batch, ...)`` each; and shape ``(*batch,)``.
    """
    parts = numbers.split([block.size for block in blocks.values()], -1)
    found = {n: b.value(part) for (n, b), part in zip(blocks.items(), parts, strict=True)}
    log_det = torch.stack([log_det for _, log_det in found.values()]).sum(0)
    return {name: value for name, (value, _) in found.items()}, log_det


class LocalGuide(Guide):
    r"""A mixture of Gaussians with full covariances for each of ``N`` observations.

    .. math:: q(u \mid x_i) = \sum_m w_{im} N(u; \mu_{im}, C_{im} C_{im}^T),

    where ``u`` holds the latents that are not enumerated, on the scale of all real numbers: ``z``,
    the logarithm of a library size. Nothing is amortised: the guide knows these observations and
    no others, by their positions, ``batch.index``. It is made by
    `vae4counts.inference.posterior.refinement.refine`.

    The sites are sampled one after the other, each given those before it; these conditional
    distributions are mixtures of Gaussians again.

    Args:
        blocks: The sites, in the model's order.
        log_weights: Normalised logarithms of the weights ``w``, shape ``(N, M)``.
        loc: Means, shape ``(N, M, D)``.
        scale_tril: Lower triangular ``C`` with a positive diagonal, shape ``(N, M, D, D)``.
    """

    reads_tables = False
    log_weights: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(
        self, blocks: Mapping[str, Block], log_weights: Tensor, loc: Tensor, scale_tril: Tensor
    ) -> None:
        super().__init__()
        self.blocks = dict(blocks)
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("loc", loc)
        self.register_buffer("scale_tril", scale_tril)

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model that leaves latents to a guide."""
        return bool(sampled_sites(model))

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> LocalGuide:  # noqa: ARG003
        """Raise an error, since such a guide needs observations.

        Raises:
            IncompatiblePairError: Always.
        """
        raise IncompatiblePairError(
            f"a LocalGuide of {model.title} belongs to certain observations: refine makes it"
        )

    def of(self, rows: Tensor) -> LocalGuide:
        """Return the guide of some of the observations, which are counted from 0 in it.

        Args:
            rows: Their positions, shape ``(M,)``.
        """
        parts = self.log_weights, self.loc, self.scale_tril
        return LocalGuide(self.blocks, *(part[rows] for part in parts))

    def numbers(self, rows: Tensor, num_samples: int) -> Tensor:
        """Draw points ``u``, shape ``(S, B, D)``.

        Args:
            rows: Positions of observations, shape ``(B,)``.
            num_samples: Number ``S`` of draws.
        """
        return self._mixture(rows).sample(torch.Size([num_samples]))

    def log_density(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """Return ``log q(u)`` in nats.

        Args:
            rows: Positions of observations, shape ``(B,)``.
            numbers: Points ``u``, shape ``(S, B, D)``.

        Returns:
            Shape ``(S, B)``.
        """
        return self._mixture(rows).log_prob(numbers)

    def _mixture(self, rows: Tensor) -> dist.MixtureSameFamily:
        weights = dist.Categorical(logits=self.log_weights[rows])
        gaussians = dist.MultivariateNormal(self.loc[rows], scale_tril=self.scale_tril[rows])
        return dist.MixtureSameFamily(weights, gaussians)

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of ``u``, ``(B, D)``, and factors of its covariances, ``(B, D, D)``.

        Args:
            rows: Positions of observations, shape ``(B,)``.
        """
        weights, loc, factor = self.log_weights[rows].exp(), self.loc[rows], self.scale_tril[rows]
        mean = torch.einsum("bm,bmd->bd", weights, loc)
        away = loc - mean.unsqueeze(1)
        within = factor @ factor.mT + away.unsqueeze(-1) * away.unsqueeze(-2)
        return mean, torch.linalg.cholesky(torch.einsum("bm,bmij->bij", weights, within))

    @property
    def sites(self) -> Sequence[str]:
        """See `Guide.sites`."""
        return tuple(self.blocks)

    def forward(self, batch: Batch) -> Tensor | None:
        """See `Guide.forward`."""
        log_weights, loc, scale_tril = (
            part[batch.index] for part in (self.log_weights, self.loc, self.scale_tril)
        )
        value, end = None, 0
        # C^-1 (u - loc) of the sites before this one, for each Gaussian
        white = loc[..., :0]
        with observations(batch):
            for name, block in self.blocks.items():
                start, end = end, end + block.size
                rows = scale_tril[..., start:end, :]
                mean = loc[..., start:end] + _times(rows[..., :start], white)
                gaussians = dist.MultivariateNormal(mean, scale_tril=rows[..., start:end])
                mixture = dist.MixtureSameFamily(dist.Categorical(logits=log_weights), gaussians)
                value = pyro.sample(name, block.site(mixture))
                away = block.numbers(value).unsqueeze(-2) - mean
                log_weights = log_weights + gaussians.log_prob(mean + away)
                own_white = _solve(rows[..., start:end], away)
                white = torch.cat([white.expand(*away.shape[:-1], -1), own_white], -1)
        return value


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _solve(lower: Tensor, vector: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(lower, vector.unsqueeze(-1), upper=False).squeeze(-1)
