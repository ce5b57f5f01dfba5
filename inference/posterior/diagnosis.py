r"""Whether a mixture is one: its weights, how far its components lie apart, and what they win.

The mixture wins, for each observation,

.. math:: E_{q(z | x)} [\log p(z) - \log N(z; m, S)],

where ``m`` and ``S`` are the mean and covariance of the latents over the training observations. A
decoder takes any linear map in its stride, so that the single Gaussian ``N(m, S)`` stands for the
plain VAE's prior ``N(0, I)``: a mixture that wins nothing over it is a plain VAE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.evaluation import components_used, perplexity
from vae4counts.models import Model
from vae4counts.models.priors import MixturePrior

# A mixture that wins less than this, in nats per observation, is no better than one Gaussian.
NOTHING_WON = 0.05
# Components of a lower perplexity are one and what is left of others.
ONE_COMPONENT = 1.1
# A component with less of an equal share of the weight holds nothing.
EMPTY = 0.05
TRY = (
    "try restarts (3, say), more epochs, fewer latents, or another seed; the marginal guide if it "
    "was the joint one, or FreeNats and Balance with that; and see in history.csv whether the "
    "validation ELBO was still growing"
)


@dataclass(frozen=True)
class Diagnosis:
    """How a mixture has come out.

    Attributes:
        components_used: Components with over 1 % of the responsibility on held-out observations.
        component_perplexity: Exponential of the entropy of the mean responsibilities there.
        component_weights: The prior's weights, ``K``.
        component_overlap: For each component, the largest overlap with another (see `overlaps`);
            0 with and for components of hardly any weight.
        nats_over_one_gaussian: What the mixture wins over a single Gaussian, per observation.
        nats_standard_error: The standard error of that, over the held-out observations.
    """

    components_used: int
    component_perplexity: float
    component_weights: list[float]
    component_overlap: list[float]
    nats_over_one_gaussian: float
    nats_standard_error: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, the warning among them."""
        return asdict(self) | {"component_warning": self.warning}

    @property
    def warning(self) -> str | None:
        """What has gone wrong and what to try, in words; None if nothing has."""
        n = len(self.component_weights)
        if n == 1:
            return None
        if self.component_perplexity < ONE_COMPONENT:
            return f"the mixture has collapsed to one of its {n} components: {TRY}"
        won = (
            f"{self.nats_over_one_gaussian:.2f} ± {self.nats_standard_error:.2f} nats per "
            "observation over one Gaussian"
        )
        if self.nats_over_one_gaussian < NOTHING_WON:
            return (
                f"the mixture has collapsed to a plain VAE: its components win {won}: the data may "
                f"have no clusters; else {TRY}"
            )
        if self.nats_over_one_gaussian - 2 * self.nats_standard_error < NOTHING_WON:
            return (
                f"the mixture may have collapsed to a plain VAE: its components win {won}, too "
                "little to tell by so few held-out observations: a larger validation part would "
                f"tell; if it has, {TRY}"
            )
        return None


@torch.no_grad()
def diagnose(
    model: Model,
    guide: Guide,
    training: Iterable[Batch],
    held_out: Iterable[Batch],
    *,
    num_samples: int = 10,
) -> Diagnosis:
    """Looks at a mixture after its fit.

    Args:
        model: A model with a mixture prior, in evaluation mode.
        guide: Its guide, in evaluation mode.
        training: Training observations.
        held_out: Observations that training has not seen.
        num_samples: Draws of the latents of each held-out observation.
    """
    prior = cast(MixturePrior, model.mixture_prior)
    single = _single_gaussian(z for z, _ in _latents(model, guide, training, 1))
    gains, shares = [], []
    for batch in held_out:
        draws = list(_latents(model, guide, [batch], num_samples))
        z, responsibilities = (torch.cat(parts) for parts in zip(*draws, strict=True))
        gains.append((prior.log_prob(z).double() - single.log_prob(z.double())).mean(0))
        shares.append(responsibilities.mean(0).cpu())
    won = torch.cat(gains)
    mean_shares = torch.cat(shares).numpy()
    weights = prior.log_weights().exp()
    held = (weights * len(weights) > EMPTY).double()
    overlap = overlaps(*prior.components()) * torch.outer(held, held)
    overlap.fill_diagonal_(0)
    return Diagnosis(
        components_used=components_used(mean_shares),
        component_perplexity=perplexity(mean_shares),
        component_weights=weights.tolist(),
        component_overlap=overlap.max(0).values.tolist(),
        nats_over_one_gaussian=won.mean().item(),
        nats_standard_error=(won.std(correction=0) / len(won) ** 0.5).item(),
    )


def overlaps(loc: Tensor, scale: Tensor) -> Tensor:
    r"""How much diagonal Gaussians overlap: their Bhattacharyya coefficients.

    .. math:: \int \sqrt{N_j(z) N_k(z)} \, dz = \prod_l
              \sqrt{\frac{2 \sigma_{jl} \sigma_{kl}}{\sigma_{jl}^2 + \sigma_{kl}^2}}
              \exp\left(-\frac{(\mu_{jl} - \mu_{kl})^2}
                              {4 (\sigma_{jl}^2 + \sigma_{kl}^2)}\right),

    from 0 for Gaussians that lie apart to 1 for equal ones. Whoever has to guess the component of
    a draw from two of equal weight is wrong with at most half this probability.

    Args:
        loc: Means, shape ``(K, L)``.
        scale: Standard deviations, shape ``(K, L)``.

    Returns:
        Shape ``(K, K)``.
    """
    loc, scale = loc.double(), scale.double()
    both = scale.unsqueeze(0) ** 2 + scale.unsqueeze(1) ** 2
    height = (2 * scale.unsqueeze(0) * scale.unsqueeze(1) / both).log() / 2
    distance = (loc.unsqueeze(0) - loc.unsqueeze(1)) ** 2 / (4 * both)
    return (height - distance).sum(-1).exp()


def _latents(
    model: Model, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draws of ``z``, ``(S, B, L)``, and of the responsibilities, ``(S, B, K)``."""
    for batch in batches:
        for size in chunks(num_samples, model, batch):
            draws = draw(model, guide, batch, size)
            yield draws.values["z"], cast(Tensor, draws.responsibilities)


def _single_gaussian(latents: Iterable[Tensor]) -> MultivariateNormal:
    """The Gaussian of the same mean and covariance."""
    z = torch.cat([part.flatten(0, 1) for part in latents]).double()
    covariance = torch.cov(z.T, correction=0).reshape(z.shape[1], z.shape[1])
    ridge = 1e-6 * covariance.diagonal().mean() * torch.eye(z.shape[1]).to(covariance)
    return MultivariateNormal(z.mean(0), covariance + ridge)
