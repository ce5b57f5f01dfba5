"""Summaries of posterior predictive counts, without keeping the draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data import Batch, DataError
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, posterior_predictive
from vae4counts.inference.posterior.tables import count_table, feature_columns
from vae4counts.models import Model

# Counts are put into bins: one for each count below 64, then 32 for each doubling, up to 2^24.
EXACT_BINS, BINS_PER_DOUBLING, DOUBLINGS = 64, 32, 18
N_BINS = EXACT_BINS + BINS_PER_DOUBLING * DOUBLINGS


@dataclass(frozen=True, repr=False)
class PredictiveSummary:
    """Moments and quantiles of posterior predictive counts.

    Both tables have the columns ``mean``, ``variance``, ``zeros`` (the proportion of zeros),
    ``dispersion`` (variance over mean, 1 for Poisson counts; NaN where all counts are zero) and a
    column for each quantile, such as ``q0.05``. Quantiles are counts: exact below 64, and within
    1.6 % above.

    Attributes:
        features: A row a feature, over all draws of all observations.
        observations: A row an observation, over all draws of all features; those that lack the
            table are left out.
    """

    features: pd.DataFrame
    observations: pd.DataFrame

    def __repr__(self) -> str:
        size = f"{len(self.observations):,} observations x {len(self.features):,} features"
        return f"{type(self).__name__}({size}: {', '.join(map(str, self.features.columns))})"


def summarise(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    observations: Sequence[str],
    features: Sequence[str],
    num_samples: int,
    quantiles: Sequence[float],
    table: str | None = None,
) -> PredictiveSummary:
    """Draw posterior predictive counts chunk by chunk, and keep only their moments and histograms.

    Memory does not grow with the number of draws: a chunk is bounded, and 5 kB are kept for each
    feature.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order.
        observations: Their names.
        features: Names of the model's features.
        num_samples: Number of draws for each observation.
        quantiles: Which quantiles, each between 0 and 1.
        table: Which table of counts is drawn, given all tables of an observation; None for the only
            one.

    Raises:
        DataError: No observation has the table.
        NotInModelError: None is named of several tables, or it does not hold counts.
        UnknownName: The model has no such table.
        ValueError: Too few draws, or a quantile out of range.
    """
    name = count_table(model, table)
    features = features[feature_columns(model, name)]
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    for q in quantiles:
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q}: it must be between 0 and 1")
    by_feature = CountSummary(len(features))
    tables, names = [], []
    for batch in batches:
        own = batch.of_table(name)
        if not len(own):
            continue
        names += [observations[i] for i in own.index.tolist()]
        by_observation = CountSummary(len(own))
        for size in chunks(num_samples, model, batch):
            counts = posterior_predictive(model, guide, batch, name, size).flatten()
            place = counts.nonzero().squeeze(-1)
            counts = counts[place]
            by_feature.add(place % len(features), counts)
            by_observation.add(place // len(features) % len(own), counts)
        tables.append(by_observation.table(num_samples * len(features), quantiles))
    if not names:
        raise DataError(f"none of these observations has a table {name!r}")
    return PredictiveSummary(
        features=by_feature.table(num_samples * len(names), quantiles).set_axis(
            pd.Index(features, name="feature")
        ),
        observations=pd.concat(tables).set_axis(pd.Index(names, name="obs")),
    )


class CountSummary:
    """Moments and histograms of ``n`` series of counts, which come a part at a time.

    Counts are whole numbers, so their sums and the sums of their squares are exact in float64 (up
    to 2^53).
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.sums = torch.zeros(2, n, dtype=torch.float64)
        self.bins = torch.zeros(n, N_BINS, dtype=torch.int64)

    def add(self, series: Tensor, counts: Tensor) -> None:
        """Add counts above zero.

        Args:
            series: The series that each count belongs to, int64 of shape ``(m,)``.
            counts: The counts, shape ``(m,)``.
        """
        values = counts.double()
        for row, power in zip(self.sums, (values, values**2), strict=True):
            row += torch.bincount(series, power, minlength=self.n).cpu()
        places = series * N_BINS + bin_of(counts)
        self.bins += torch.bincount(places, minlength=self.bins.numel()).cpu().view(self.bins.shape)

    def table(self, size: int, quantiles: Sequence[float]) -> pd.DataFrame:
        """Summarise series of ``size`` counts, of which those that were not added are zeros."""
        bins = self.bins.numpy().copy()
        bins[:, 0] = size - bins.sum(1)
        mean, square = self.sums.numpy() / size
        variance = (square - mean**2).clip(0)
        dispersion = np.divide(variance, mean, where=mean > 0, out=np.full(self.n, np.nan))
        table = {"mean": mean, "variance": variance, "zeros": bins[:, 0] / size}
        table["dispersion"] = dispersion
        below = bins.cumsum(1)
        for q in quantiles:
            # the smallest count that a share q of the counts does not exceed
            rank = max(1, int(np.ceil(q * size)))
            table[f"q{q:g}"] = count_of((below >= rank).argmax(1))
        return pd.DataFrame(table)


def bin_of(counts: Tensor) -> Tensor:
    """Return the bin of each count, int64."""
    mantissa, exponent = torch.frexp(counts.float())
    doubling = exponent.long() - 7  # 64 is 0.5 * 2**7
    within = ((mantissa - 0.5) * 2 * BINS_PER_DOUBLING).long()
    large = EXACT_BINS + doubling * BINS_PER_DOUBLING + within
    return torch.where(doubling < 0, counts.long(), large).clamp_max(N_BINS - 1)


def count_of(bins: np.ndarray) -> np.ndarray:
    """Return the count in the middle of each bin."""
    doubling, within = np.divmod(bins - EXACT_BINS, BINS_PER_DOUBLING)
    width = 2.0 ** (doubling + 1)
    return np.where(
        bins < EXACT_BINS, bins, EXACT_BINS * width / 2 + within * width + (width - 1) / 2
    )
