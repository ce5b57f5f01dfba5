r"""Whether a mixture is in use: how large, separate and stable its components are, what they gain.

The mixture gains, for each observation,

.. math:: E_{q(z | x)} [\log p(z) - \log N(z; m, S)],

where ``m`` and ``S`` are the mean and covariance of the mixture itself,

.. math:: m = \sum_k s_k \mu_k, \quad
          S = \sum_k s_k [\operatorname{diag}(\sigma_k^2) + (\mu_k - m) (\mu_k - m)^T],

with the mean responsibilities ``s`` of the training observations for weights. A decoder can undo
any linear map, so the single Gaussian ``N(m, S)`` stands for the plain VAE's prior ``N(0, I)``: a
mixture that gains nothing over it is a plain VAE. It has no parameters of its own, which few
observations would tell badly (a Gaussian that is fitted to ``n`` latents of ``L`` dimensions loses
about ``L (L + 3) / 4n`` nats on others, which a mixture would seem to gain): a single component
gains exactly 0, however few the observations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import draw_latents
from vae4counts.inference.posterior.evaluation import components_used, perplexity
from vae4counts.inference.posterior.stability import component_stability
from vae4counts.models import Model, NotInModelError
from vae4counts.models.priors import MixturePrior

# A mixture that gains less than this, in nats per observation, is no better than one Gaussian.
MIN_GAIN = 0.05
# So many observations in one component mean that the others have less than a tenth of all, with
# 95 % confidence (the rule of three).
MIN_OBSERVATIONS = 30
# Components of a lower perplexity are one component and remnants of others.
MIN_PERPLEXITY = 1.1
# A component with less than this part of an equal share of the weight is empty.
MIN_RELATIVE_WEIGHT = 0.05
ADVICE = (
    "try restarts (3, say), more epochs, fewer latents, or another seed; the marginal guide if it "
    "was the joint one, or FreeNats and Balance with that; and see in history.csv whether the "
    "validation ELBO was still growing"
)


@dataclass(frozen=True)
class Diagnosis:
    """The state of a mixture after its fit.

    Attributes:
        components_used: Components with over 1 % of the responsibility on held-out observations.
        component_perplexity: Exponential of the entropy of the mean responsibilities there.
        component_weights: The prior's weights, ``K``.
        component_overlap: For each component, the largest overlap with another (see `overlaps`);
            0 with and for components of hardly any weight.
        component_stability: How well each component is found again in resampled latents of the
            training observations, from 0 to 1 (see
            `vae4counts.inference.posterior.stability.component_stability`); 0 for empty ones.
        nats_over_one_gaussian: What the mixture gains over a single Gaussian, per observation.
        nats_standard_error: The standard error of that, over the held-out observations; None for
            one observation, which does not tell.
        n_validation: Number of these observations.
    """

    components_used: int
    component_perplexity: float
    component_weights: list[float]
    component_overlap: list[float]
    component_stability: list[float]
    nats_over_one_gaussian: float
    nats_standard_error: float | None
    n_validation: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the warning as JSON values."""
        return asdict(self) | {"component_warning": self.warning}

    @property
    def warning(self) -> str | None:
        """What is wrong and what to try; None if nothing is, or too little is known."""
        if len(self.component_weights) == 1 or self.nats_standard_error is None:
            return None
        n, held_out = len(self.component_weights), f"{self.n_validation} held-out observations"
        if self.component_perplexity < MIN_PERPLEXITY:
            if self.n_validation < MIN_OBSERVATIONS:
                return (
                    f"the mixture may have collapsed to one of its {n} components, which holds "
                    f"all of {held_out}, too few to tell: use a larger validation part"
                )
            return f"the mixture has collapsed to one of its {n} components: {ADVICE}"
        gain, error = self.nats_over_one_gaussian, self.nats_standard_error
        gained = f"{gain:.2f} ± {error:.2f} nats per observation over one Gaussian"
        # of a mean of few observations, whose standard error is a guess as well
        margin = float(stats.t.ppf(0.975, self.n_validation - 1)) * error
        if gain + margin < MIN_GAIN:
            return (
                f"the mixture has collapsed to a plain VAE: its components gain {gained}: the data "
                f"may have no clusters; otherwise {ADVICE}"
            )
        if gain - margin < MIN_GAIN:
            return (
                f"the mixture may have collapsed to a plain VAE: its components gain {gained}, too "
                f"little to tell with {held_out}: use a larger validation part; if it has "
                f"collapsed, {ADVICE}"
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
    """Examine a mixture after its fit.

    Args:
        model: A model with a mixture prior, in evaluation mode.
        guide: Its guide, in evaluation mode.
        training: Training observations.
        held_out: Observations that training has not seen.
        num_samples: Draws of the latents of each held-out observation.

    Raises:
        NotInModelError: The prior of the model is not a mixture of Gaussians.
    """
    prior = model.mixture_prior
    if prior is None:
        raise NotInModelError(f"the prior of {model.title} is not a mixture of Gaussians")
    points, responsibilities = latents_and_shares(model, guide, training)
    one = _one_gaussian(prior, responsibilities.double().mean(0))
    stability = component_stability(points.cpu().numpy(), responsibilities.cpu().numpy())
    gains, shares = [], []
    for batch in held_out:
        draws = draw_latents(model, guide, batch, num_samples)
        z = draws.values["z"]
        gains.append((prior.log_prob(z).double() - one.log_prob(z.double())).mean(0))
        shares.append(draws.probabilities["component"].mean(0).cpu())
    gain = torch.cat(gains)
    mean_shares = torch.cat(shares).numpy()
    weights = prior.log_weights().exp()
    held = (weights * len(weights) > MIN_RELATIVE_WEIGHT).double()
    overlap = overlaps(*prior.components()) * torch.outer(held, held)
    overlap.fill_diagonal_(0)
    return Diagnosis(
        components_used=components_used(mean_shares),
        component_perplexity=perplexity(mean_shares),
        component_weights=weights.tolist(),
        component_overlap=overlap.max(0).values.tolist(),
        component_stability=stability.tolist(),
        nats_over_one_gaussian=gain.mean().item(),
        nats_standard_error=(gain.std() / len(gain) ** 0.5).item() if len(gain) > 1 else None,
        n_validation=len(gain),
    )


def overlaps(loc: Tensor, scale: Tensor) -> Tensor:
    r"""Return how much diagonal Gaussians overlap: their Bhattacharyya coefficients.

    .. math:: \int \sqrt{N_j(z) N_k(z)} \, dz = \prod_l
              \sqrt{\frac{2 \sigma_{jl} \sigma_{kl}}{\sigma_{jl}^2 + \sigma_{kl}^2}}
              \exp\left(-\frac{(\mu_{jl} - \mu_{kl})^2}
                              {4 (\sigma_{jl}^2 + \sigma_{kl}^2)}\right),

    from 0 for Gaussians that lie apart to 1 for equal ones. The best guess of the component of a
    draw from two of equal weight is wrong with at most half this probability.

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


@torch.no_grad()
def latents_and_shares(
    model: Model, guide: Guide, batches: Iterable[Batch]
) -> tuple[Tensor, Tensor]:
    """Draw ``z`` once for each observation; return it with the components' responsibilities.

    Returns:
        Shapes ``(N, L)`` and ``(N, K)``.
    """
    draws = [draw_latents(model, guide, batch, 1) for batch in batches]
    points = torch.cat([each.values["z"][0] for each in draws])
    return points, torch.cat([each.probabilities["component"].mean(0) for each in draws])


def _one_gaussian(prior: MixturePrior, shares: Tensor) -> MultivariateNormal:
    """The Gaussian of a mixture's own mean and covariance, at given weights."""
    loc, scale = (part.double() for part in prior.components())
    mean = shares @ loc
    away = loc - mean
    covariance = (shares @ scale**2).diag() + away.T @ (shares.unsqueeze(1) * away)
    return MultivariateNormal(mean, covariance)
