"""Conditional questions to the model: given some counts, what else is present?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from vae4counts.data import DataError
from vae4counts.data.warning import warn
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.interpretation.prior_draws import expected_counts, presence, prior_draws

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

    Args:
        pair: A pair and data.
        given: Counts by name, ``{"fork": 2, "cake": 1}``; or names, ``["fork", "cake"]``, for
            features with one count or more.
        num_samples: Draws from the prior.

    Returns:
        A row for each other feature, first those whose probability rises most by what is given:
        ``expected`` (the expected count), ``probability`` (of one count or more), ``base`` (the
        same without anything given), ``lift`` (their ratio). ``attrs["effective_samples"]`` is the
        number of draws that the answer effectively rests on.

    Raises:
        DataError: Nothing is given, an unknown feature, a value that is not a count, or what no
            draw makes possible.
        NotInModelError: The model's features are not independent given its latents (a
            multinomial).

    Warns:
        UserWarning: Few draws make what is given likely: the answer is noisy.
    """
    columns, values = _given(pair, given)
    device = pair.counts.device
    known = torch.as_tensor(columns, device=device)
    others = np.setdiff1d(np.arange(len(pair.features)), columns)
    unknown = torch.as_tensor(others, device=device)
    library = pair.library_sizes()[torch.randint(len(pair.counts), (num_samples,))]
    log_totals, log_squares, weighted, plain = [], [], [], torch.zeros(())
    for counts, _ in prior_draws(pair, library):
        if values is None:
            log_weights = presence(counts, known).double().log().sum(-1)
        else:
            log_weights = counts.log_prob_at(known, values.to(device)).double().sum(-1)
        present = presence(counts, unknown).double()
        answers = torch.stack([expected_counts(counts)[:, unknown].double(), present], dim=1)
        log_totals.append(log_weights.logsumexp(0))
        log_squares.append((2 * log_weights).logsumexp(0))
        weighted.append(torch.einsum("s,saf->af", log_weights.softmax(0), answers))
        plain = plain + present.sum(0).cpu()
    totals = torch.stack(log_totals)
    if totals.max() == -torch.inf:
        raise DataError(
            f"none of {num_samples} draws from the model makes what is given possible: give "
            "something likelier, or use a larger num_samples"
        )
    # each chunk counts by the total weight of its draws
    answer = torch.einsum("c,caf->af", totals.softmax(0), torch.stack(weighted)).cpu().numpy()
    effective = (2 * totals.logsumexp(0) - torch.stack(log_squares).logsumexp(0)).exp().item()
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


def _given(
    pair: PairOnData, given: Mapping[str, int] | Sequence[str]
) -> tuple[np.ndarray, torch.Tensor | None]:
    """Positions of the features that are given, and their counts; None for one or more."""
    if len(given) == 0:
        raise DataError("nothing is given: name one feature or more")
    if not isinstance(given, Mapping):
        return np.unique(pair.columns(given)), None
    for name, value in given.items():
        if not (np.isfinite(value) and value >= 0 and value == int(value)):
            raise DataError(f"{name!r} is given as {value!r}: it must be a whole number, 0 or more")
    return pair.columns(list(given)), torch.tensor([float(v) for v in given.values()])
