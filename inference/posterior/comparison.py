"""Log-likelihoods of observations by Pareto-smoothed importance sampling, and how they rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.evaluation import leave_one_out_sums
from vae4counts.inference.posterior.importance import smoothed_estimates
from vae4counts.inference.posterior.tables import require_likelihoods
from vae4counts.models import Model


def rank(log_likelihoods: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Rank log-likelihoods of the same observations, shape ``(n,)`` each, the largest mean first.

    Returns:
        A row for each: ``rank`` (from 0), ``log_likelihood`` (the mean) and its standard error
        ``se``, ``difference`` from the best and the standard error of the mean of the paired
        differences, ``difference_se``; in the unit of the input.
    """
    values = pd.DataFrame(dict(log_likelihoods))
    values = values[values.mean().sort_values(ascending=False, kind="stable").index]
    difference = values.sub(values.iloc[:, 0], axis=0)
    table = pd.DataFrame(
        {
            "rank": range(values.shape[1]),
            "log_likelihood": values.mean(),
            "se": values.sem(),
            "difference": difference.mean(),
            "difference_se": difference.sem(),
        }
    )
    return table.rename_axis("run")


def log_likelihoods(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    num_samples: int,
    *,
    leave_one_out: bool = False,
) -> dict[str, np.ndarray]:
    r"""Estimate each observation's log-likelihood by Pareto-smoothed importance sampling.

    .. math:: \log p(x) \approx \log \frac1S \sum_s w_s, \qquad
              w_s = \frac{p(x, z_s)}{q(z_s \mid x)}, \quad z_s \sim q(z \mid x),

    with the largest weights replaced by the quantiles of a generalised Pareto distribution fitted
    to them (Vehtari et al. 2024). Its shape k tells whether the estimate can be trusted: see
    `vae4counts.inference.posterior.importance.largest_k`.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations.
        num_samples: Number ``S`` of draws for each, 100 or more.
        leave_one_out: Whether to predict each count from all others as well.

    Returns:
        ``log_likelihood``, ``pareto_k`` and ``effective_draws``, each of shape ``(n,)``: see
        `vae4counts.inference.posterior.importance.smoothed_estimates`; and ``leave_one_out`` if
        it is asked for, see `leave_one_out_sums`.

    Raises:
        NotInModelError: The model describes something else than its values, see
            `require_likelihoods`; or it has no conditionals, and ``leave_one_out`` is asked for.
        ValueError: Too few draws, or a model that takes large counts as one and meets larger ones.
    """
    require_likelihoods(model, model.tables)
    # of a model that cannot, this tells at once
    predicted = leave_one_out_sums(model, guide, batches, num_samples) if leave_one_out else None
    found = smoothed_estimates(model, guide, _told_apart(model, batches), num_samples)
    return found if predicted is None else found | {"leave_one_out": predicted}


def _told_apart(model: Model, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches, whose counts the model has to tell apart."""
    lumped_from = {name: model.observed(name).lumped_from for name in model.tables}
    lumped = {name: last for name, last in lumped_from.items() if last is not None}
    for batch in batches:
        for name, last in lumped.items():
            counts = batch.of_table(name).counts.values()
            if counts.numel() and (largest := counts.max().item()) > last:
                raise ValueError(
                    f"{model.title} takes all counts from {last} on as one, and there is a count "
                    f"of {largest:.0f} in {name!r}: its likelihood cannot be compared with that of "
                    "other models"
                )
        yield batch
