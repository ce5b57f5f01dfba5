"""Draws from a guide, and what model and guide say of them: the root of all evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides import Guide
from vae4counts.models import CountModel, GaussianMixtureModel
from vae4counts.models.library import ObservedLibrary

# Size of the largest tensor of a chunk of draws, in numbers: 16 MB in float32.
CHUNK_NUMBERS = 2**22


@dataclass(frozen=True, slots=True)
class Draws:
    """``S`` draws from q(latents | counts) for each of ``B`` observations.

    Attributes:
        values: The draws of each latent site, shape ``(S, B, ...)``.
        log_model: log p of each site, shape ``(S, B)``, in nats. A component that the guide
            does not sample is summed out, in the site that hangs on it.
        log_guide: log q of each site that the guide samples, shape ``(S, B)``, in nats.
        z_mean: Mean of q(z | x), averaged over the draws of what it hangs on, shape ``(B, L)``;
            None for a model without ``z``.
        responsibilities: p(component | draw), or q(component | counts) where the guide samples
            it, shape ``(S, B, K)``; None for a model without components.
    """

    values: dict[str, Tensor]
    log_model: dict[str, Tensor]
    log_guide: dict[str, Tensor]
    z_mean: Tensor | None
    responsibilities: Tensor | None

    @property
    def log_weights(self) -> Tensor:
        """``log p(counts, latents) - log q(latents | counts)``, shape ``(S, B)``, in nats."""
        terms = [part.double() for part in self.log_model.values()]
        terms += [-part.double() for part in self.log_guide.values()]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)

    @property
    def mean_responsibilities(self) -> Tensor | None:
        """p(component | draw), averaged over the draws, shape ``(B, K)``."""
        return None if self.responsibilities is None else self.responsibilities.mean(0)

    def latents(self) -> dict[str, Tensor]:
        """The draws of each latent site, with a component that was summed out drawn given them."""
        if self.responsibilities is None or "component" in self.values:
            return self.values
        component = torch.distributions.Categorical(self.responsibilities).sample()
        return {**self.values, "component": component}

    def elbo_parts(self) -> dict[str, Tensor]:
        """Each site's share of the ELBO, averaged over the draws, shape ``(B,)``.

        For ``"counts"`` the reconstruction; for a latent, minus its Kullback-Leibler divergence.
        """
        return {
            name: (part - self.log_guide.get(name, torch.zeros(()))).mean(0)
            for name, part in self.log_model.items()
        }


@torch.no_grad()
def draw(model: CountModel, guide: Guide, batch: Batch, num_samples: int) -> Draws:
    """Draws from the guide and scores the draws.

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
    scored = poutine.trace(replayed).get_trace(batch)
    scored.compute_log_prob()

    shape = (num_samples, len(batch))
    guided = _per_observation(drawn)
    plain: dict[str, Tensor] = {}
    summed: dict[str, Tensor] = {}
    for name, log_p in _per_observation(scored).items():
        (summed if log_p.dim() > 2 else plain)[name] = log_p
    log_model = {name: log_p.expand(shape) for name, log_p in plain.items()}
    responsibilities = None
    if summed:
        joint = torch.stack(torch.broadcast_tensors(*summed.values())).sum(0).expand(-1, *shape)
        # the sites that hang on the component stand behind it
        log_model[list(summed)[-1]] = joint.logsumexp(0)
        responsibilities = joint.softmax(0).permute(1, 2, 0)
    elif "component" in guided:
        responsibilities = drawn.nodes["component"]["fn"].probs.expand(*shape, -1)
    return Draws(
        values={name: drawn.nodes[name]["value"] for name in guided},
        log_model=log_model,
        log_guide={name: log_q.expand(shape) for name, log_q in guided.items()},
        z_mean=drawn.nodes["z"]["fn"].mean.expand(*shape, -1).mean(0) if "z" in guided else None,
        responsibilities=responsibilities,
    )


@torch.no_grad()
def predict(
    model: CountModel, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Draws from the model whatever is not given, the counts among it.

    Args:
        model: The model, in evaluation mode.
        batch: The observations, of which only the library size (where it is observed) is read.
        num_samples: Number ``S`` of draws for each observation.
        given: Draws of latents to go on from, as `Draws.latents` gives them: the result is then
            from the posterior predictive distribution. None: new observations from the model.

    Returns:
        Values of each site, shape ``(S, B, ...)``; the counts are dense, ``(S, B, G)``.
    """
    unobserved = poutine.uncondition(pyro.plate("samples", num_samples, dim=-2)(model))
    conditioned = poutine.condition(unobserved, data=dict(given or {}))
    trace: Any = poutine.trace(conditioned).get_trace(batch)
    return {name: trace.nodes[name]["value"] for name in _in_plate(trace)}


@torch.no_grad()
def draw_prior(model: CountModel, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    """Draws of each latent site from its prior, shape ``(S, B, ...)``, without the counts."""
    trace: Any = poutine.trace(pyro.plate("samples", num_samples, dim=-2)(model)).get_trace(batch)
    latents = [name for name in _in_plate(trace) if not trace.nodes[name]["is_observed"]]
    return {name: trace.nodes[name]["value"] for name in latents}


def require_counts(model: CountModel) -> None:
    """Makes sure that the site ``"counts"`` of a model holds counts.

    Raises:
        ValueError: It holds logarithms of them.
    """
    if isinstance(model, GaussianMixtureModel):
        raise ValueError(
            f"{type(model).__name__} is a density of log(1 + counts), not a distribution of "
            "counts: it predicts none, and its likelihood is not to be compared with theirs"
        )


def given_library(model: CountModel) -> bool:
    """Whether the model is given each observation's total count, and so does not model it."""
    return isinstance(getattr(model, "library", None), ObservedLibrary)


def chunks(num_samples: int, model: CountModel, batch: Batch) -> list[int]:
    """Splits a number of draws so that no chunk's tensors grow too large."""
    size = max(1, CHUNK_NUMBERS // max(1, batch.whole.size * model.outputs_per_draw))
    whole, rest = divmod(num_samples, size)
    return [size] * whole + [rest] * (rest > 0)


def _per_observation(trace: Any) -> dict[str, Tensor]:
    """Unscaled log-probabilities of the sample sites inside the observation plate."""
    return {name: trace.nodes[name]["unscaled_log_prob"] for name in _in_plate(trace)}


def _in_plate(trace: Any) -> list[str]:
    """Names of the sample sites inside the observation plate, in the model's order."""
    return [
        name
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and any(frame.name == "observations" for frame in site["cond_indep_stack"])
    ]
