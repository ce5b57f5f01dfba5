r"""Whether a mixture is in use: its weights, the overlap of its components, and what they gain.

The mixture gains, for each observation that training has not seen,

.. math:: E_{q(z | x)} [\log p(z) - \log N(z; m, S)].

A decoder can undo any linear map, so the single Gaussian ``N(m, S)`` stands for the plain VAE's
prior ``N(0, I)``: a mixture that gains nothing over it is a plain VAE. Of two single Gaussians it
is the one that describes these observations better:

- that of the latents of the ``n`` training observations, the best there is where they are many. But
  to estimate its ``L (L + 3) / 2`` parameters costs about half as many nats divided by ``n``, and
  more without bound as ``n`` falls to ``L``: the mixture alone would seem to gain them;
- that of the mean and covariance of ``p(z)`` itself, for which nothing else is estimated. A mixture
  of one component is this Gaussian, and gains nothing over it whatever ``n``.

All three densities are fixed before these observations are seen, so that none of them is favoured.
To take the better single Gaussian can only lower the gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import Draws, chunks, draw
from vae4counts.inference.posterior.evaluation import components_used, perplexity
from vae4counts.models import Model, NotInModelError
from vae4counts.models.priors import MixturePrior

# A mixture that gains less than this, in nats per observation, is no better than one Gaussian.
MIN_GAIN = 0.05
# Components of a lower perplexity are one component and remnants of others.
MIN_PERPLEXITY = 1.1
# Among fewer observations a component that holds 5 % may well have none.
MIN_OBSERVATIONS = 60
# Of the interval in which a gain is believed to be.
CONFIDENCE = 0.95
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
        components_used: Components with over 1 % of the responsibility on validation observations.
        component_perplexity: Exponential of the entropy of the mean responsibilities there.
        component_weights: The prior's weights, ``K``.
        component_overlap: For each component, the largest overlap with another (see `overlaps`);
            0 with and for components of hardly any weight.
        nats_over_one_gaussian: What the mixture gains over a single Gaussian, per observation.
        nats_standard_error: The standard error of that, over the validation observations; None
            for a single one, which says nothing about it.
        n_validation: The number of these observations.
    """

    components_used: int
    component_perplexity: float
    component_weights: list[float]
    component_overlap: list[float]
    nats_over_one_gaussian: float
    nats_standard_error: float | None
    n_validation: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the warning as JSON values."""
        return asdict(self) | {"component_warning": self.warning}

    @property
    def warning(self) -> str | None:
        """What is wrong and what to try, in words; None if nothing is, or too little is known."""
        n = len(self.component_weights)
        if n == 1:
            return None
        if self.component_perplexity < MIN_PERPLEXITY and self.n_validation >= MIN_OBSERVATIONS:
            return f"the mixture has collapsed to one of its {n} components: {ADVICE}"
        if self.nats_standard_error is None:
            return None
        gain, error = self.nats_over_one_gaussian, self.nats_standard_error
        margin = stdtrit(self.n_validation - 1, (1 + CONFIDENCE) / 2) * error
        gained = f"{gain:.2f} ± {error:.2f} nats per observation over one Gaussian"
        if gain + margin < MIN_GAIN:
            return (
                f"the mixture has collapsed to a plain VAE: its components gain {gained}: the data "
                f"may have no clusters; otherwise {ADVICE}"
            )
        if gain - margin < MIN_GAIN:
            return (
                f"the mixture may have collapsed to a plain VAE: its components gain {gained}, too "
                f"little to tell with {self.n_validation:,} validation observations: use a larger "
                f"validation part; if it has collapsed, {ADVICE}"
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
        held_out: The validation observations, which training has not seen.
        num_samples: Draws of the latents of each validation observation.

    Raises:
        NotInModelError: The prior of the model is not a mixture of Gaussians.
    """
    prior = model.mixture_prior
    if prior is None:
        raise NotInModelError(f"the prior of {model.title} is not a mixture of Gaussians")
    mixture, own = _mixture(prior)
    fitted = _fitted(each.values["z"] for each in _draws(model, guide, training, 1))
    singles = [own] if fitted is None else [own, fitted]
    log_ratios, shares = [], []
    for batch in held_out:
        draws = list(_draws(model, guide, [batch], num_samples))
        z = torch.cat([each.values["z"] for each in draws]).double()
        responsibilities = torch.cat([each.probabilities["component"] for each in draws])
        ratios = [mixture.log_prob(z) - single.log_prob(z) for single in singles]
        log_ratios.append(torch.stack(ratios).mean(1))
        shares.append(responsibilities.mean(0).cpu())
    gains = torch.cat(log_ratios, dim=1)
    # rounding errors are no gain
    gain = gains[gains.mean(1).argmin()].round(decimals=9) + 0.0
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


def _draws(
    model: Model, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> Iterator[Draws]:
    for batch in batches:
        for size in chunks(num_samples, model, batch):
            yield draw(model, guide, batch, size)


def _mixture(prior: MixturePrior) -> tuple[MixtureSameFamily, MultivariateNormal]:
    """Return a mixture in float64, and the Gaussian of its mean and covariance."""
    loc, scale = (part.double() for part in prior.components())
    weights = prior.log_weights().double().softmax(-1)
    mixture = MixtureSameFamily(Categorical(weights), Independent(Normal(loc, scale), 1))
    apart = loc - weights @ loc
    covariance = (weights @ scale**2).diag() + apart.T @ (weights.unsqueeze(-1) * apart)
    return mixture, MultivariateNormal(weights @ loc, covariance)


def _fitted(latents: Iterable[Tensor]) -> MultivariateNormal | None:
    """Return the Gaussian of the mean and covariance of latents; None for too few of them."""
    z = torch.cat([part.flatten(0, 1) for part in latents]).double()
    n, n_latent = z.shape
    if n <= n_latent:
        return None
    covariance = torch.cov(z.T, correction=0).reshape(n_latent, n_latent)
    ridge = 1e-6 * covariance.diagonal().mean() * torch.eye(n_latent).to(covariance)
    root, failed = torch.linalg.cholesky_ex(covariance + ridge)
    return None if failed else MultivariateNormal(z.mean(0), scale_tril=root)
