"""Conditional questions to the model: given some counts, what else is present?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain, product

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import constraints

from vae4counts.data import DataError
from vae4counts.data.warning import warn
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.interpretation.prior_draws import prior_draws

# With fewer effective draws an answer is mostly noise.
MIN_EFFECTIVE_DRAWS = 50


@torch.no_grad()
def expected_given(
    pair: PairOnData, given: Mapping[str, int] | Sequence[str], *, num_samples: int = 20_000
) -> pd.DataFrame:
    r"""Return expected counts of all other features, given some: "what else is in the picture?".

    The features that are not named are unobserved, not zero. Latents are drawn from the prior and
    weighted by the likelihood of what is given (self-normalised importance sampling):

    .. math:: E[x_j \mid \mathrm{given}] \approx \sum_s w_s E[x_j \mid z_s], \qquad
              w_s \propto \prod_{i \in \mathrm{given}} p(x_i \mid z_s), \qquad z_s \sim p(z).

    Library sizes are drawn from the data where the model is given them, else from their prior.
    Where the model has no other latents than enumerated ones, and no library size is given, these
    are summed out, and the answer is exact: that of a mixture, a tree or a circuit.

    Args:
        pair: A pair and data.
        given: Counts by name, ``{"fork": 2, "cake": 1}``; or names, ``["fork", "cake"]``, for
            features with one count or more.
        num_samples: Draws from the prior.

    Returns:
        A row for each other feature, first those whose probability rises most by what is given:
        ``expected`` (the expected count), ``probability`` (of one count or more), ``base`` (the
        same without anything given), ``lift`` (their ratio). ``attrs["effective_samples"]`` is the
        number of draws that the answer effectively rests on, infinite for an exact answer.

    Raises:
        DataError: Nothing is given, an unknown feature, a value that is not a count, or what no
            draw makes possible.
        NotInModelError: The counts given the latents have no marginals (those of a multinomial).

    Warns:
        UserWarning: Few draws make what is given likely: the answer is noisy.
    """
    columns, values, observed, present = _given(pair, given)
    others = np.setdiff1d(np.arange(len(pair.features)), columns)
    unknown = torch.as_tensor(others, device=observed.device)
    is_exact, states = _summed_out(pair)
    num_samples = 1 if is_exact else num_samples
    library = pair.library_sizes()[torch.randint(len(pair.counts), (num_samples,))]
    log_totals, log_squares, weighted, plain = [], [], [], torch.zeros(())
    for counts, shares in chain.from_iterable(prior_draws(pair, library, each) for each in states):
        log_weights = shares.log() + counts.log_marginal(values, observed, present).double()
        answers = torch.stack(counts.expected_given(values, observed, present), dim=1).double()
        log_totals.append(log_weights.logsumexp(0))
        log_squares.append((2 * log_weights).logsumexp(0))
        weights = log_weights.softmax(0).nan_to_num()  # of draws that are all impossible
        weighted.append(torch.einsum("s,saf->af", weights, answers[..., unknown]))
        plain = plain + (shares @ counts.presence(unknown).double()).cpu()
    totals = torch.stack(log_totals)
    if totals.max() == -torch.inf:
        raise DataError(
            f"none of {num_samples} draws from the model makes what is given possible: give "
            "something likelier, or use a larger num_samples"
        )
    # each chunk counts by the total weight of its draws
    answer = torch.einsum("c,caf->af", totals.softmax(0), torch.stack(weighted)).cpu().numpy()
    effective = (2 * totals.logsumexp(0) - torch.stack(log_squares).logsumexp(0)).exp().item()
    effective = math.inf if is_exact else effective
    if not effective >= MIN_EFFECTIVE_DRAWS:
        warn(
            f"only {effective:.0f} of {num_samples} draws make what is given likely: the answer is "
            "noisy; use a larger num_samples"
        )
    base = plain.numpy() / num_samples
    table = pd.DataFrame(
        {
            "expected": answer[0],
            "probability": answer[1],
            "base": base,
            "lift": answer[1] / np.maximum(base, np.finfo(float).tiny),
        },
        index=pd.Index([pair.features[j] for j in others], name="feature"),
    )
    # features that are everywhere are likely whatever is given
    table = table.iloc[np.argsort(base - answer[1], kind="stable")]
    table.attrs["effective_samples"] = effective
    return table


def _summed_out(pair: PairOnData) -> tuple[bool, list[dict[str, float]]]:
    """Whether all that is latent can be summed out, and the states to do it by."""
    model = pair.model
    if model.given_library or model.covariates or not model.is_exact:
        return False, [{}]
    numbers = [range(latent.states or 0) for latent in model.latents]
    names = [latent.name for latent in model.latents]
    return True, [dict(zip(names, states, strict=True)) for states in product(*numbers)]


def _given(
    pair: PairOnData, given: Mapping[str, int] | Sequence[str]
) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
    """Positions of what is given; the counts ``(1, G)``, and which are known, or to be there."""
    if len(given) == 0:
        raise DataError("nothing is given: name one feature or more")
    device = pair.counts.device
    values = torch.zeros((1, len(pair.features)), device=device)
    nothing = torch.zeros(len(pair.features), dtype=torch.bool, device=device)
    columns = pair.columns(given if isinstance(given, str) else list(given))
    _check_values(pair, given, columns)
    known = _index(columns, device)
    if not isinstance(given, Mapping):
        return np.unique(columns), values, nothing, nothing.index_fill(0, known, True)
    values[0, known] = torch.tensor([float(v) for v in given.values()], device=device)
    return columns, values, nothing.index_fill(0, known, True), nothing


def _check_values(
    pair: PairOnData, given: Mapping[str, float] | Sequence[str], columns: np.ndarray
) -> None:
    """Check that the tables that the features are in can hold what is given."""
    supports = list(pair.model.supports.values())
    tables = np.repeat(np.arange(len(supports)), list(pair.model.table_sizes.values()))
    for name, column in zip(given, columns, strict=True):
        support = supports[tables[column]]
        is_count = support is constraints.nonnegative_integer
        if not isinstance(given, Mapping):
            if not support.is_discrete:
                raise DataError(f"{name!r} is no count, which could be there or not: give a value")
            continue
        value = torch.tensor(float(given[name]))
        if not (value.isfinite() and support.check(value)):
            wanted = "a whole number, 0 or more" if is_count else f"in {support}"
            raise DataError(f"{name!r} is given as {given[name]!r}: it must be {wanted}")


def _index(columns: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(columns, device=device)
