"""Summaries of posterior predictive counts, without keeping the draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.tables import count_table
from vae4counts.models import Model

# Counts are put into bins: one for each count below 64, then 32 for each doubling, up to 2^24.
EXACT_BINS, BINS_PER_DOUBLING, DOUBLINGS = 64, 32, 18
N_BINS = EXACT_BINS + BINS_PER_DOUBLING * DOUBLINGS


@dataclass(frozen=True)
class PredictiveSummary:
    """Moments and quantiles of posterior predictive counts.

    Both tables have the columns ``mean``, ``variance``, ``zeros`` (the proportion of zeros),
    ``dispersion`` (variance over mean, 1 for Poisson counts; NaN where all counts are zero) and a
    column for each quantile, such as ``q0.05``. Quantiles are counts: exact below 64, and within
    1.6 % above.

    Attributes:
        features: A row a feature, over all draws of all observations.
        observations: A row an observation, over all draws of all features.
    """

    features: pd.DataFrame
    observations: pd.DataFrame


def summarise(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    observations: Sequence[str],
    features: Sequence[str],
    num_samples: int,
    quantiles: Sequence[float],
) -> PredictiveSummary:
    """Draw posterior predictive counts chunk by chunk, and keep only their moments and histograms.

    Memory does not grow with the number of draws: a chunk is bounded, and 5 kB are kept for each
    feature.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order.
        observations: Their names.
        features: Names of the features.
        num_samples: Number of draws for each observation.
        quantiles: Which quantiles, each between 0 and 1.

    Raises:
        NotInModelError: The model has several tables, or its table does not hold counts.
        ValueError: Too few draws, or a quantile out of range.
    """
    name = count_table(model)
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    for q in quantiles:
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q}: it must be between 0 and 1")
    by_feature = CountSummary(len(features))
    tables = []
    for batch in batches:
        by_observation = CountSummary(len(batch))
        for size in chunks(num_samples, model, batch):
            latents = draw(model, guide, batch, size).latents()
            counts = model.draw(batch, size, given=latents)[name].flatten()
            place = counts.nonzero().squeeze(-1)
            counts = counts[place]
            by_feature.add(place % len(features), counts)
            by_observation.add(place // len(features) % len(batch), counts)
        tables.append(by_observation.table(num_samples * len(features), quantiles))
    return PredictiveSummary(
        features=by_feature.table(num_samples * len(observations), quantiles).set_axis(
            pd.Index(features, name="feature")
        ),
        observations=pd.concat(tables).set_axis(pd.Index(observations, name="obs")),
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
