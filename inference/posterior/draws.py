"""Draws from a guide, scored by model and guide: what all evaluation starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.tables import count_table, joint_distribution
from vae4counts.models import Model, plate_sites

# Size of the largest tensor of a chunk of draws, in numbers: 16 MiB in float32.
CHUNK_NUMBERS = 2**22


@dataclass(frozen=True, slots=True)
class Draws:
    """``S`` draws from q(latents | values) for each of ``B`` observations.

    Sites that the model enumerates and the guide does not sample are summed out.

    Attributes:
        values: The draws of each site that the guide samples, shape ``(S, B, ...)``.
        log_model: For each site of the model that is not summed out, its log p given the sites
            before it, shape ``(S, B)``, in nats.
        log_guide: log q of each site that the guide samples, shape ``(S, B)``, in nats.
        z_mean: Mean of q(z | x), averaged over the draws of what it depends on, shape ``(B, L)``;
            the mean of the draws if q has none in closed form; None for a model without ``z``.
        probabilities: For each enumerated site the probabilities of its states, shape
            ``(S, B, K)``: p(state | draw, values), or q(state | values) if the guide samples it.
        summed: For each site that is summed out the values of its states, shape ``(K, ...)``.
        joint: p(states | draw, values) of these sites together, shape ``(*states, S, B)`` with an
            axis for each site in `summed`; None if no site is summed out.
        stats: What else is known of each draw, by name, shape ``(S, B)``.
        conditionals: ``log p(x_d | x_-d, draw)``, each count given all others and the draw, shape
            ``(S, B, G)``, in nats; None where they were not asked for.
    """

    values: dict[str, Tensor]
    log_model: dict[str, Tensor]
    log_guide: dict[str, Tensor]
    z_mean: Tensor | None
    probabilities: dict[str, Tensor]
    summed: dict[str, Tensor]
    joint: Tensor | None
    stats: dict[str, Tensor] = field(default_factory=dict)
    conditionals: Tensor | None = None

    @property
    def log_weights(self) -> Tensor:
        """``log p(values, latents) - log q(latents | values)``, shape ``(S, B)``, in nats."""
        terms = [part.double() for part in self.log_model.values()]
        terms += [-part.double() for part in self.log_guide.values()]
        return torch.stack(terms).sum(0)

    @property
    def responsibilities(self) -> Tensor | None:
        """Probabilities of the components, ``(S, B, K)``; None for a model without components."""
        return self.probabilities.get("component")

    @property
    def mean_responsibilities(self) -> Tensor | None:
        """`responsibilities` averaged over the draws, shape ``(B, K)``."""
        return None if self.responsibilities is None else self.responsibilities.mean(0)

    def latents(self) -> dict[str, Tensor]:
        """Return draws of all latent sites: those that were summed out are drawn together."""
        if self.joint is None:
            return self.values
        states = self.joint.shape[:-2]
        flat = torch.distributions.Categorical(self.joint.flatten(0, -3).movedim(0, -1)).sample()
        drawn = zip(self.summed.items(), torch.unravel_index(flat, states), strict=True)
        return {**self.values, **{name: support[state] for (name, support), state in drawn}}

    def elbo_parts(self) -> dict[str, Tensor]:
        """Return each site's share of the ELBO, averaged over the draws, shape ``(B,)``.

        It is the reconstruction for an observed site, and minus the Kullback-Leibler divergence
        for a latent site. The shares sum to the mean of `log_weights`.
        """
        return {
            name: (part - self.log_guide.get(name, torch.zeros(()))).mean(0)
            for name, part in self.log_model.items()
        }


@torch.no_grad()
def draw(
    model: Model,
    guide: Guide,
    batch: Batch,
    num_samples: int,
    *,
    conditionals: bool = False,
    told: Batch | None = None,
) -> Draws:
    """Draw from the guide and score the draws.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batch: The observations.
        num_samples: Number ``S`` of draws for each observation.
        conditionals: Whether to score each count given all others as well.
        told: What the guide is told of the observations; all that the model scores if None.

    Raises:
        NotInModelError: Conditionals of a model that does not describe one table of counts by a
            joint distribution which has them.
    """
    predicted = batch.tables[count_table(model, None)].values if conditionals else None
    drawn = _drawn(guide, batch if told is None else told, num_samples)
    drawn.compute_log_prob()
    samples = pyro.plate("samples", num_samples, dim=-2)
    scored = _scored(poutine.replay(samples(model), trace=drawn), batch)
    shape = (num_samples, len(batch))
    return _draws(
        model,
        scored,
        **_guide_parts(model, drawn, shape),
        log_guide={name: log_q.expand(shape) for name, log_q in _log_probs(drawn).items()},
        shape=shape,
        predicted=predicted,
    )


@torch.no_grad()
def draw_latents(model: Model, guide: Guide, batch: Batch, num_samples: int) -> Draws:
    """Draw from the guide, and find the probabilities of enumerated sites, but score nothing.

    Where the model says by the latents alone which states these sites have
    (`Model.state_probabilities`), the values are not decoded: it takes a fraction of the time of
    `draw`. Draws need not be cut into chunks.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batch: The observations.
        num_samples: Number ``S`` of draws for each observation.

    Returns:
        Draws without log p and log q.
    """
    parts = _guide_parts(model, _drawn(guide, batch, num_samples), (num_samples, len(batch)))
    values = parts["values"]
    found = model.state_probabilities(values) | parts["probabilities"]
    if not found.keys() >= set(_enumerated(model)):
        chunks_of = torch.arange(num_samples).split(chunks(num_samples, model, batch))
        scored = [
            draws_at(model, batch, {name: v[rows] for name, v in values.items()}, len(rows))
            for rows in chunks_of
        ]
        for name in scored[0].probabilities.keys() - found.keys():
            found[name] = torch.cat([each.probabilities[name] for each in scored])
    parts["probabilities"] = found
    return Draws(**parts, log_model={}, log_guide={}, summed={}, joint=None)


def _drawn(guide: Guide, batch: Batch, num_samples: int) -> Any:
    """Trace a guide under a plate of draws."""
    return poutine.trace(pyro.plate("samples", num_samples, dim=-2)(guide)).get_trace(batch)


def _guide_parts(model: Model, drawn: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Return what a guide's trace alone says of the draws."""
    names = plate_sites(drawn)
    return {
        "values": {name: drawn.nodes[name]["value"] for name in names},
        "z_mean": _mean(drawn.nodes["z"], shape) if "z" in names else None,
        "probabilities": {
            name: _state_probabilities(drawn.nodes[name]["fn"]).expand(*shape, -1)
            for name in _enumerated(model)
            if name in names
        },
    }


def _over_states(conditionals: Tensor, log_states: Tensor | None) -> Tensor:
    r"""Sum enumerated sites ``h`` out of the log-probabilities of counts given all others.

    .. math:: p(x_d | x_{-d}) = \left[ \sum_h p(h | x) / p(x_d | x_{-d}, h) \right]^{-1}

    Args:
        conditionals: ``log p(x_d | x_-d, h)``, shape ``(*states, S, B, G)``.
        log_states: ``log p(h | x)``, shape ``(*states, S, B)``; None without enumerated sites.
    """
    if log_states is None:
        return conditionals
    return -(log_states.unsqueeze(-1) - conditionals).flatten(0, -4).logsumexp(0)


@torch.no_grad()
def draws_at(
    model: Model,
    batch: Batch,
    values: Mapping[str, Tensor],
    num_samples: int,
    stats: Mapping[str, Tensor] | None = None,
) -> Draws:
    """Score draws that come from elsewhere; their `Draws.log_weights` are log p(values, latents).

    Args:
        model: The model, in evaluation mode.
        batch: The observations.
        values: Draws of each latent that is not enumerated, shape ``(S, B, ...)``.
        num_samples: Number ``S`` of draws.
        stats: What else is known of each draw, shape ``(S, B)``.
    """
    samples = pyro.plate("samples", num_samples, dim=-2)
    return _draws(
        model,
        _scored(poutine.condition(samples(model), data=dict(values)), batch),
        values=dict(values),
        log_guide={},
        z_mean=values["z"].mean(0) if "z" in values else None,
        probabilities={},
        shape=(num_samples, len(batch)),
        stats=dict(stats or {}),
    )


def _draws(
    model: Model,
    scored: Any,
    *,
    values: dict[str, Tensor],
    log_guide: dict[str, Tensor],
    z_mean: Tensor | None,
    probabilities: dict[str, Tensor],
    shape: tuple[int, int],
    stats: dict[str, Tensor] | None = None,
    predicted: Tensor | None = None,
) -> Draws:
    """Sum the enumerated sites that have no values out of the trace of a model.

    Counts that are ``predicted`` are also scored one by one, each given all others.
    """
    log_probs = _log_probs(scored)
    # Pyro gives the first enumerated site the axis -3, the next one -4, and so on
    enumerated = _enumerated(model)
    summed = [name for name in reversed(log_probs) if name in enumerated and name not in values]
    log_model, log_states = _sum_out(summed, log_probs, shape)
    nothing = torch.zeros(shape, device=next(iter(log_probs.values())).device)
    for name in model.tables:  # a table that no observation of the batch has
        log_model.setdefault(name, nothing)
    joint = None if log_states is None else log_states.exp()
    conditionals = None
    if predicted is not None:
        found = joint_distribution(model, scored.nodes).leave_one_out(predicted)
        conditionals = _over_states(found, log_states).expand(*shape, -1)
    return Draws(
        values=values,
        log_model=log_model,
        log_guide=log_guide,
        z_mean=z_mean,
        probabilities=probabilities | ({} if joint is None else _marginals(summed, joint)),
        summed={name: _states(scored.nodes[name]["fn"]) for name in summed},
        joint=joint,
        stats=stats or {},
        conditionals=conditionals,
    )


def _enumerated(model: Model) -> list[str]:
    """Return the names of the latents that the model enumerates."""
    return [latent.name for latent in model.latents if latent.states is not None]


def log_joint(model: Model, batch: Batch, values: Mapping[str, Tensor], num_samples: int) -> Tensor:
    """Return log p(values, latents) at given latents, with gradients by them.

    Args:
        model: The model, in evaluation mode.
        batch: The observations.
        values: Each latent that is not enumerated, shape ``(S, B, ...)``.
        num_samples: The number ``S``.

    Returns:
        Shape ``(S, B)``, in nats; enumerated latents are summed out.
    """
    samples = pyro.plate("samples", num_samples, dim=-2)
    log_probs = _log_probs(_scored(poutine.condition(samples(model), data=dict(values)), batch))
    log_model, _ = _sum_out(_enumerated(model), log_probs, (num_samples, len(batch)))
    return torch.stack(list(log_model.values())).sum(0)


def _scored(model: Callable[[Batch], Any], batch: Batch) -> Any:
    """Trace a model whose other latents have values, with its discrete ones enumerated."""
    trace: Any = poutine.trace(poutine.enum(model, first_available_dim=-3)).get_trace(batch)
    trace.compute_log_prob()
    return trace


def _log_probs(trace: Any) -> dict[str, Tensor]:
    """Return unscaled log-probabilities of the sample sites inside the observation plate."""
    return {name: trace.nodes[name]["unscaled_log_prob"] for name in plate_sites(trace)}


def _sum_out(
    summed: Sequence[str], log_probs: Mapping[str, Tensor], shape: tuple[int, int]
) -> tuple[dict[str, Tensor], Tensor | None]:
    r"""Sum enumerated sites out of the log-probabilities of all sites.

    With ``h`` the enumerated sites and ``x_1, x_2, ...`` those that depend on them, in order,

    .. math:: \log p(x_i \mid x_{<i}) = \log \sum_h p(h, x_{\le i}) - \log \sum_h p(h, x_{<i}).

    Returns:
        log p of each other site given those before it, ``(S, B)``, and ``log p(h | x)``, shape
        ``(*states, S, B)``; None without enumerated sites.
    """
    log_model = {name: part.expand(shape) for name, part in log_probs.items() if part.dim() <= 2}
    if not summed:
        return log_model, None
    total = before = torch.zeros(())
    for name, part in log_probs.items():
        if part.dim() > 2:
            total = total + part
            if name not in summed:
                marginal = total.flatten(0, -3).logsumexp(0).expand(shape)
                log_model[name], before = marginal - before, marginal
    total = total.expand(*total.shape[:-2], *shape)
    return log_model, total.flatten(0, -3).log_softmax(0).view(total.shape)


def _marginals(summed: Sequence[str], joint: Tensor) -> dict[str, Tensor]:
    """Return the probabilities of each summed site's states, shape ``(S, B, K)``."""
    return {
        name: joint.movedim(axis, 0).reshape(n_states, -1, *joint.shape[-2:]).sum(1).movedim(0, -1)
        for axis, (name, n_states) in enumerate(zip(summed, joint.shape, strict=False))
    }


def _states(site: Any) -> Tensor:
    """Return the values that an enumerable distribution can take, shape ``(K, ...)``."""
    return site.enumerate_support(expand=False).reshape(-1, *site.event_shape)


def _state_probabilities(site: Any) -> Tensor:
    """Return the probabilities of these values, shape ``(*batch, K)``."""
    return site.log_prob(site.enumerate_support(expand=False)).exp().movedim(0, -1)


def _mean(site: Any, shape: tuple[int, int]) -> Tensor:
    """Return a site's mean, or that of its draws where its distribution has no closed form."""
    try:
        mean = site["fn"].mean
    except NotImplementedError:
        mean = site["value"]
    return mean.expand(*shape, -1).mean(0)


@torch.no_grad()
def posterior_predictive(
    model: Model, guide: Guide, batch: Batch, table: str, num_samples: int
) -> Tensor:
    """Draw new values of a table for the observations that have it, given all their tables.

    Returns:
        Shape ``(S, R, G)`` for ``R`` observations.
    """
    latents = draw(model, guide, batch, num_samples).latents()
    rows = batch.tables[table].rows
    if rows is not None:
        latents = {name: value[:, rows] for name, value in latents.items()}
    return model.draw(batch.of_table(table), num_samples, latents)[table]


@torch.no_grad()
def draw_prior(model: Model, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    """Draw each latent site from its prior, shape ``(S, B, ...)``; observed sites are not drawn."""
    trace: Any = poutine.trace(pyro.plate("samples", num_samples, dim=-2)(model)).get_trace(batch)
    latents = [name for name in plate_sites(trace) if not trace.nodes[name]["is_observed"]]
    return {name: trace.nodes[name]["value"] for name in latents}


def chunks(num_samples: int, model: Model, batch: Batch) -> list[int]:
    """Split a number of draws into chunks whose tensors do not grow too large."""
    size = max(1, CHUNK_NUMBERS // max(1, batch.whole.size * model.numbers_per_draw))
    whole, rest = divmod(num_samples, size)
    return [size] * whole + [rest] * (rest > 0)
