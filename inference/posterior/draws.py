"""Draws from a guide, and what model and guide say of them: the root of all evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides import Guide
from vae4counts.models import Model, NotInModelError, plate_sites

# Size of the largest tensor of a chunk of draws, in numbers: 16 MB in float32.
CHUNK_NUMBERS = 2**22


@dataclass(frozen=True, slots=True)
class Draws:
    """``S`` draws from q(latents | values) for each of ``B`` observations.

    Attributes:
        values: The draws of each latent site, shape ``(S, B, ...)``.
        log_model: log p of each site, shape ``(S, B)``, in nats. Sites that the guide does not
            sample are summed out, in the last of the sites that depend on them.
        log_guide: log q of each site that the guide samples, shape ``(S, B)``, in nats.
        z_mean: Mean of q(z | x), averaged over the draws of what it depends on, shape ``(B, L)``;
            the mean of the draws where q has none in closed form; None for a model without ``z``.
        probabilities: For each enumerated site the probabilities of its states: p(state | draw),
            or q(state | values) where the guide samples it, shape ``(S, B, K)``.
        joint: p(states | draw) of all sites that were summed out, together: shape
            ``(*states, S, B)`` with an axis for each of `summed`; None without any.
        summed: The names of these sites, by the axes of `joint`.
    """

    values: dict[str, Tensor]
    log_model: dict[str, Tensor]
    log_guide: dict[str, Tensor]
    z_mean: Tensor | None
    probabilities: dict[str, Tensor]
    joint: Tensor | None
    summed: tuple[str, ...]

    @property
    def log_weights(self) -> Tensor:
        """``log p(values, latents) - log q(latents | values)``, shape ``(S, B)``, in nats."""
        terms = [part.double() for part in self.log_model.values()]
        terms += [-part.double() for part in self.log_guide.values()]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)

    @property
    def responsibilities(self) -> Tensor | None:
        """Probabilities of the components, ``(S, B, K)``; None for a model without."""
        return self.probabilities.get("component")

    @property
    def mean_responsibilities(self) -> Tensor | None:
        """p(component | draw), averaged over the draws, shape ``(B, K)``."""
        return None if self.responsibilities is None else self.responsibilities.mean(0)

    def latents(self) -> dict[str, Tensor]:
        """Return draws of all latent sites: those that were summed out are drawn given the rest."""
        if self.joint is None:
            return self.values
        states = self.joint.shape[: len(self.summed)]
        flat = torch.distributions.Categorical(self.joint.flatten(0, -3).movedim(0, -1)).sample()
        drawn = torch.unravel_index(flat, states)
        return {**self.values, **dict(zip(self.summed, drawn, strict=True))}

    def elbo_parts(self) -> dict[str, Tensor]:
        """Return each site's share of the ELBO, averaged over the draws, shape ``(B,)``.

        For an observed site the reconstruction; for a latent, minus its Kullback-Leibler
        divergence.
        """
        return {
            name: (part - self.log_guide.get(name, torch.zeros(()))).mean(0)
            for name, part in self.log_model.items()
        }


@torch.no_grad()
def draw(model: Model, guide: Guide, batch: Batch, num_samples: int) -> Draws:
    """Draw from the guide and score the draws.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batch: The observations.
        num_samples: Number ``S`` of draws for each observation.
    """
    samples = pyro.plate("samples", num_samples, dim=-2)
    drawn: Any = poutine.trace(samples(guide)).get_trace(batch)
    drawn.compute_log_prob()
    replayed = poutine.enum(poutine.replay(samples(model), trace=drawn), first_available_dim=-3)
    scored: Any = poutine.trace(replayed).get_trace(batch)
    scored.compute_log_prob()

    shape = (num_samples, len(batch))
    guided = _log_probs(drawn)
    log_probs = _log_probs(scored)
    log_model = {name: part.expand(shape) for name, part in log_probs.items() if part.dim() <= 2}
    enumerated = {latent.name for latent in model.latents if latent.states is not None}
    probabilities = {
        name: drawn.nodes[name]["fn"].probs.expand(*shape, -1) for name in enumerated & set(guided)
    }
    # the first site that is enumerated has the dimension -3, the next -4 ...
    summed = tuple(name for name in reversed(list(log_probs)) if name in enumerated - set(guided))
    joint = None
    if summed:
        parts = {name: part for name, part in log_probs.items() if part.dim() > 2}
        total = torch.stack(torch.broadcast_tensors(*parts.values())).sum(0)
        total = total.expand(*total.shape[:-2], *shape)
        flat = total.flatten(0, -3)
        # the sites that depend on the states come after them
        log_model[list(parts)[-1]] = flat.logsumexp(0)
        joint = flat.softmax(0).view(total.shape)
        for axis, name in enumerate(summed):
            others = [other for other in range(len(summed)) if other != axis]
            own = joint.sum(others) if others else joint
            probabilities[name] = own.movedim(0, -1)
    return Draws(
        values={name: drawn.nodes[name]["value"] for name in guided},
        log_model=log_model,
        log_guide={name: log_q.expand(shape) for name, log_q in guided.items()},
        z_mean=_mean(drawn.nodes["z"], shape) if "z" in guided else None,
        probabilities=probabilities,
        joint=joint,
        summed=summed,
    )


def _mean(site: Any, shape: tuple[int, int]) -> Tensor:
    """The mean of a site's distribution over its draws, or of the draws where it has none."""
    try:
        mean = site["fn"].mean
    except NotImplementedError:
        mean = site["value"]
    return mean.expand(*shape, -1).mean(0)


@torch.no_grad()
def draw_prior(model: Model, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    """Draw each latent site from its prior, shape ``(S, B, ...)``, without the observed sites."""
    trace: Any = poutine.trace(pyro.plate("samples", num_samples, dim=-2)(model)).get_trace(batch)
    latents = [name for name in plate_sites(trace) if not trace.nodes[name]["is_observed"]]
    return {name: trace.nodes[name]["value"] for name in latents}


def require_counts(model: Model) -> None:
    """Make sure that a model's observed site holds counts.

    Raises:
        NotInModelError: It holds something else.
    """
    if not model.holds_counts:
        raise NotInModelError(
            f"{type(model).__name__} is not a distribution of counts: it predicts none, and its "
            "likelihood is not to be compared with theirs"
        )


def chunks(num_samples: int, model: Model, batch: Batch) -> list[int]:
    """Splits a number of draws so that no chunk's tensors grow too large."""
    size = max(1, CHUNK_NUMBERS // max(1, batch.whole.size * model.numbers_per_draw))
    whole, rest = divmod(num_samples, size)
    return [size] * whole + [rest] * (rest > 0)


def _log_probs(trace: Any) -> dict[str, Tensor]:
    """Unscaled log-probabilities of the sample sites inside the observation plate."""
    return {name: trace.nodes[name]["unscaled_log_prob"] for name in plate_sites(trace)}
