"""Predictive checks for counts: is the data set one that the model would generate?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from torch import Tensor

from vae4counts.data import Batch, DataError
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, posterior_predictive
from vae4counts.inference.posterior.tables import count_table, feature_columns
from vae4counts.models import Model

Replicates = Literal["model", "posterior"]

# The quantiles at which library sizes are compared.
LIBRARY_QUANTILES = np.linspace(0.05, 0.95, 19)
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, repr=False)
class PredictiveChecks:
    """How the data differ from data sets that the model generated.

    Attributes:
        table: A row a check. ``observed`` and ``replicated``: the statistic, averaged over the
            features (library size: over its quantiles), in the data and in the mean replicate;
            95 % of the replicates lie between ``low`` and ``high``. ``discrepancy``: how far the
            data are from the replicates, see `discrepancies`; about 1 if the model is true.
            ``p_value``: the share of data sets, the observed one among them, that are as far from
            the others.
        observed: The statistic of each check in the data, a value a feature.
        replicated: The same in each replicate, shape ``(R, ...)``.
        features: Names of the features.
        replicates: What was drawn again: see `check`.
    """

    table: pd.DataFrame
    observed: dict[str, np.ndarray]
    replicated: dict[str, np.ndarray]
    features: list[str]
    replicates: Replicates

    def p_value_text(self, name: str) -> str:
        """Return a check's p-value as people read it: no less than the replicates can show."""
        p, n = float(self.table["p_value"][name]), len(self.replicated[name])
        if np.isnan(p):
            return "given, not modelled"
        return f"p < 1/{n}" if p * (n + 1) < 1.5 else f"p = {p:.2g}"

    def __repr__(self) -> str:
        return f"Predictive checks of {len(self.features):,} features\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()


def check(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    features: Sequence[str],
    num_replicates: int,
    replicates: Replicates = "model",
    table: str | None = None,
) -> PredictiveChecks:
    r"""Compare a data set with ``R`` replicates of it that the model generates.

    The statistics are, for each feature, the mean, the share of zeros, the mean-variance relation
    (variance over mean, 1 for Poisson counts), the coefficient of variation (standard deviation
    over mean) and the maximum; and the quantiles of the library size.

    Replicates from the "model" draw the latents from their prior: a whole new data set of the same
    size. If the model is true, and the data were not used to fit it, data and replicates are
    exchangeable and the p-values are uniform. Replicates from the "posterior" draw new counts for
    each observation from its own latents, q(z | x). They ask whether likelihood and decoder fit,
    whatever the prior; as they have seen the data, their p-values are conservative: near 1/2
    rather than uniform if the model is true (Gelman et al. 1996, Bayarri & Berger 2000). A model
    that fails only the first has a prior that is not where the data are.

    Where the library size is observed it is given, not modelled: its own p-value is NaN. The
    others are then approximate, because the data add up to the library size and replicates only
    nearly do (a multinomial's do exactly): simulated with 100 and 1,000 features, 2 to 10 % of
    them fell below 5 %, mostly fewer than 5 %; do not rely on them for a handful of features.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode; used for the "posterior" only.
        batches: The observations, not used in training.
        features: Names of the model's features.
        num_replicates: Number ``R`` of replicates; the smallest p-value is ``1 / (R + 1)``.
        replicates: "model" or "posterior".
        table: Which table of counts is compared, of the observations that have it; None for the
            only one. From the "posterior" it is drawn given all tables of an observation.

    Raises:
        DataError: No observation has the table.
        NotInModelError: None is named of several tables, or it does not hold counts.
        UnknownName: The model has no such table.
        ValueError: Fewer than two replicates, or unknown ones.
    """
    name = count_table(model, table)
    features = features[feature_columns(model, name)]
    if num_replicates < 2:
        raise ValueError(f"num_replicates is {num_replicates}: it must be 2 or more")
    if replicates not in get_args(Replicates):
        known = " or ".join(map(repr, get_args(Replicates)))
        raise ValueError(f"replicates is {replicates!r}: it must be {known}")
    sets = _DataSets(1 + num_replicates, len(features))  # the observed one comes first
    for batch in batches:
        own = batch.of_table(name)
        if not len(own):
            continue
        sets.start(len(own))
        sets.add(0, own.counts.to_dense().unsqueeze(0))
        done = 1
        for size in chunks(num_replicates, model, batch):
            if replicates == "posterior":
                drawn = posterior_predictive(model, guide, batch, name, size)
            else:
                drawn = model.draw(own, size)[name]
            sets.add(done, drawn)
            done += size
    if not sets.n:
        raise DataError(f"none of these observations has a table {name!r}")
    statistics = sets.statistics()
    rows = pd.DataFrame({name: _row(values) for name, values in statistics.items()}).T
    if model.observed(name).given_library:
        rows.loc["library size", "p_value"] = np.nan
    return PredictiveChecks(
        table=rows.rename_axis("check"),
        observed={name: values[0] for name, values in statistics.items()},
        replicated={name: values[1:] for name, values in statistics.items()},
        features=list(features),
        replicates=replicates,
    )


def discrepancies(statistic: np.ndarray) -> np.ndarray:
    r"""Return how far each data set is from the others.

    .. math:: D_i = \sqrt{\frac1G \sum_j \left(\frac{t_{ij} - m_j}{s_j}\right)^2}

    with the mean ``m`` and the standard deviation ``s`` over all data sets. All data sets are
    treated alike, so ranks are uniform where they are exchangeable.

    Args:
        statistic: ``t``, shape ``(R + 1, G)``.

    Returns:
        Shape ``(R + 1,)``: about 1 for a data set like the others, at most ``sqrt(R)``.
    """
    spread = statistic.std(0)
    deviation = statistic - statistic.mean(0)
    # differences that are rounding only are none
    varies = spread > 1e-9 * np.abs(statistic).max(0)
    z = np.divide(deviation, spread, where=varies, out=np.zeros_like(deviation))
    return np.sqrt((z**2).mean(1))


def _row(statistic: np.ndarray) -> dict[str, float]:
    average = statistic.mean(1)
    low, high = np.quantile(average[1:], INTERVAL)
    far = discrepancies(statistic)
    return {
        "observed": average[0],
        "replicated": average[1:].mean(),
        "low": low,
        "high": high,
        "discrepancy": far[0],
        "p_value": float((far >= far[0]).mean()),
    }


class _DataSets:
    """Statistics of several data sets of ``G`` counts, seen some observations at a time."""

    def __init__(self, n_sets: int, n_features: int) -> None:
        self.n = 0
        shape = (n_sets, n_features)
        self.total, self.squares, self.above_zero = np.zeros((3, *shape))
        self.maximum = np.zeros(shape)
        self.library: list[np.ndarray] = []

    def start(self, n: int) -> None:
        """Make room for ``n`` further observations."""
        self.n += n
        self.library.append(np.zeros((len(self.total), n)))

    def add(self, first: int, counts: Tensor) -> None:
        """Add the further observations of data sets, shape ``(S, n, G)``."""
        sets = slice(first, first + len(counts))
        counts = counts.double()
        self.total[sets] += counts.sum(1).cpu().numpy()
        self.squares[sets] += counts.square().sum(1).cpu().numpy()
        self.above_zero[sets] += (counts > 0).sum(1).cpu().numpy()
        self.maximum[sets] = np.maximum(self.maximum[sets], counts.amax(1).cpu().numpy())
        self.library[-1][sets] = counts.sum(-1).cpu().numpy()

    def statistics(self) -> dict[str, np.ndarray]:
        """Return each statistic of each data set, shape ``(sets, G)``; library size: quantiles."""
        mean = self.total / self.n
        variance = (self.squares / self.n - mean**2).clip(0)
        one_count = 1 / self.n  # in place of a mean of zero
        library = np.quantile(np.concatenate(self.library, axis=1), LIBRARY_QUANTILES, axis=1)
        return {
            "mean": mean,
            "zeros": 1 - self.above_zero / self.n,
            "variance over mean": variance / mean.clip(one_count),
            "coefficient of variation": np.sqrt(variance) / mean.clip(one_count),
            "maximum": self.maximum,
            "library size": library.T,
        }
