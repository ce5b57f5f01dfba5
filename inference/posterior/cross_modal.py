"""How well some tables of an observation predict another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp
from torch import Tensor

from vae4counts.data import Batch, DataError, UnknownName
from vae4counts.data.warning import warn
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, draw, draws_at
from vae4counts.inference.posterior.importance import HIGH_K, MIN_DRAWS, smoothed_log_mean
from vae4counts.inference.posterior.tables import presence
from vae4counts.models import Model, NotInModelError

# Two estimates of the same mean that differ by more than this share of it, and by more nats than
# the other, cannot both be right.
DISAGREEMENT, DISAGREEMENT_NATS = 0.01, 0.5
MAX_HIGH_SHARE = 0.1


def require_subsets(guide: Guide) -> None:
    """Check that a guide encodes some tables alone.

    Raises:
        NotInModelError: It is of refined posteriors given all tables.
    """
    if not guide.reads_tables:
        raise NotInModelError(
            "these posteriors are refined given all tables, and say nothing of some alone: ask "
            "with refine=False"
        )


def check_tables(model: Model, of: str, given: Sequence[str]) -> list[str]:
    """Return the tables that are given, after checking that a question about them makes sense.

    Raises:
        DataError: Nothing is given, or the table that is asked about.
        NotInModelError: The model has no latent space, through which tables tell of each other.
        UnknownName: The model has no such table.
    """
    if isinstance(given, str):
        given = [given]
    for name in (of, *given):
        if name not in model.tables:
            raise UnknownName("table", name, list(model.tables))
    if not given or of in given:
        others = ", ".join(repr(name) for name in model.tables if name != of) or "none"
        raise DataError(f"{of!r} is to be predicted: give other tables, which are {others}")
    if model.n_latent is None:
        raise NotInModelError(f"{model.title} has no latent space, through which tables are linked")
    return list(given)


@torch.no_grad()
def conditional_log_likelihoods(
    model: Model,
    guide_given: Callable[[Sequence[str]], Guide],
    batches: Iterable[Batch],
    of: str,
    given: Sequence[str],
    num_samples: int = 500,
) -> dict[str, np.ndarray]:
    r"""Estimate ``log p(x_b | x_a)`` of observations that have both, in two ways.

    As the expectation of ``p(x_b | z)`` over the posterior of ``z`` given ``x_a``, by
    self-normalised importance weights of draws from ``q(z | x_a)``,

    .. math:: \log \sum_s w_s\, p(x_b \mid z_s) - \log \sum_s w_s, \qquad
              w_s = \frac{p(x_a, z_s)}{q(z_s \mid x_a)},

    and as the difference of two importance-weighted log-likelihoods,
    ``log p(x_a, x_b) - log p(x_a)``, with draws from ``q(z | x_a, x_b)`` and ``q(z | x_a)``. All
    weights are Pareto-smoothed. With enough draws the two are the same. Where ``x_b`` says much
    more of ``z`` than ``x_a`` does, few draws from ``q(z | x_a)`` come near it: the first way is
    then too low, and needs far more draws than the second.

    Args:
        model: The model, in evaluation mode.
        guide_given: Returns its guide, in evaluation mode, of the observations with some tables
            alone: an amortised one, which encodes any of them, or one of their refined posteriors.
        batches: The observations, in any order: each batch is a pool of others for ``shuffled``.
        of: The table ``b`` that is predicted, given its library sizes if the model is given them.
        given: The tables ``a``.
        num_samples: Number ``S`` of draws for each observation, 100 or more.

    Returns:
        Shape ``(N,)`` each, in nats, in the order of the data; NaN for an observation that lacks
        ``b``, or all of ``a``:
        ``log_likelihood`` (the first way), ``by_difference`` (the second), ``pareto_k`` and
        ``difference_pareto_k`` (of the two; above 0.7 they cannot be trusted), ``marginal``
        (``log p(x_b)``), ``shuffled`` (the first way, given ``x_a`` of another observation) and
        ``tokens`` (the total count of ``x_b``; 1 for values that are not counts).

    Raises:
        DataError: See `check_tables`; or no observation has both.
        ValueError: Too few draws.
    """
    given = check_tables(model, of, given)
    if num_samples < MIN_DRAWS:
        raise ValueError(f"num_samples is {num_samples}: it must be {MIN_DRAWS} or more")
    guides = [guide_given(tables) for tables in (given, [*given, of], [of])]
    parts = [_of_batch(model, guides, batch, of, given, num_samples) for batch in batches]
    order = np.argsort(np.concatenate([part.pop("index") for part in parts]), kind="stable")
    found = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    if np.isnan(found["log_likelihood"]).all():
        raise DataError(f"no observation has both {of!r} and {' or '.join(map(repr, given))}")
    _warn_of_disagreement(found, of, given)
    return found


def conditional_summary(found: pd.DataFrame) -> dict[str, float]:
    """Return means of what `conditional_log_likelihoods` gives, over the observations that have it.

    Returns:
        ``observations``, their number; ``log_likelihood`` and its standard error ``se``;
        ``by_difference``, ``marginal``, ``shuffled``; ``per_token``, the log-likelihood of all over
        the number of all tokens; in nats; and ``bad_k``, the share with a Pareto k above 0.7.
    """
    known = found[found["log_likelihood"].notna()]
    means = known[["log_likelihood", "by_difference", "marginal", "shuffled"]].mean()
    return {
        "observations": len(known),
        "log_likelihood": means["log_likelihood"],
        "se": known["log_likelihood"].sem(),
        "by_difference": means["by_difference"],
        "marginal": means["marginal"],
        "shuffled": means["shuffled"],
        "per_token": known["log_likelihood"].sum() / known["tokens"].sum(),
        "bad_k": (known["pareto_k"] > HIGH_K).mean(),
    }


def _of_batch(
    model: Model,
    guides: Sequence[Guide],
    batch: Batch,
    of: str,
    given: list[str],
    num_samples: int,
) -> dict[str, np.ndarray]:
    of_given, of_both, of_own = guides
    known, whole = batch.only(given), batch.only([*given, of])
    sizes = chunks(num_samples, model, batch)
    # of which what is given says nothing
    own_size = {each.site for name, each in model.latent_libraries.items() if name == of}
    weights: dict[str, list[Tensor]] = {"given": [], "own": [], "other": [], "both": [], "of": []}
    for size in sizes:
        draws = draw(model, of_given, known, size)
        weights["given"].append(draws.log_weights)
        z = draws.values  # noqa: PD011 (a field of Draws)
        weights["own"].append(draws_at(model, batch.only([of]), z, size).log_model[of])
        rolled = {name: value.roll(1, dims=1) for name, value in z.items() if name not in own_size}
        weights["other"].append(draws_at(model, batch.only([of]), rolled, size).log_model[of])
        weights["both"].append(draw(model, of_both, whole, size).log_weights)
        weights["of"].append(draw(model, of_own, batch.only([of]), size).log_weights)
    w = {name: torch.cat(part).double().T.cpu().numpy() for name, part in weights.items()}
    log_given, given_k = smoothed_log_mean(w["given"])
    log_joint, pareto_k = smoothed_log_mean(w["given"] + w["own"])
    log_both, both_k = smoothed_log_mean(w["both"])
    given_other = np.roll(w["given"], 1, axis=0)
    has = presence(batch)
    absent = ~(has[of] & np.any([has[name] for name in given], axis=0))
    alone = absent | np.roll(absent, 1) | (len(batch) == 1)
    library = batch.tables[of].library
    tokens = np.ones(len(batch))
    if library is not None and model.observed(of).holds_counts:
        tokens[has[of]] = library.cpu().numpy()
    found = {
        "log_likelihood": log_joint - log_given,
        "by_difference": log_both - log_given,
        "pareto_k": pareto_k,
        "difference_pareto_k": np.maximum(given_k, both_k),
        "marginal": smoothed_log_mean(w["of"])[0],
        "shuffled": logsumexp(given_other + w["other"], axis=1) - logsumexp(given_other, axis=1),
        "tokens": tokens,
    }
    for name, values in found.items():
        values[alone if name == "shuffled" else absent] = np.nan
    return {**found, "index": batch.index.cpu().numpy()}


def _warn_of_disagreement(found: Mapping[str, np.ndarray], of: str, given: list[str]) -> None:
    """Warn if the two ways disagree, and say which can be trusted."""
    one, other = (np.nanmean(found[name]) for name in ("log_likelihood", "by_difference"))
    if abs(one - other) <= max(DISAGREEMENT_NATS, DISAGREEMENT * abs(other)):
        return
    ways = {"weighted draws": "pareto_k", "the difference": "difference_pareto_k"}
    known = ~np.isnan(found["log_likelihood"])
    high = {way: float((found[k][known] > HIGH_K).mean()) for way, k in ways.items()}
    trusted = [way for way, share in high.items() if share <= MAX_HIGH_SHARE]
    advice = f"trust {trusted[0]}" if len(trusted) == 1 else "use more draws"
    shares = " and ".join(f"{share:.0%} for {way}" for way, share in high.items())
    warn(
        f"log p({of} | {', '.join(given)}) is {one:.2f} nats by weighted draws, but {other:.2f} as "
        f"a difference: {advice} (observations with too heavy a tail of the weights, Pareto k "
        f"above 0.7: {shares})"
    )
