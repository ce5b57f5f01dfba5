"""Figures of predictive checks: one function a figure, drawn on given axes and returned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from vae4counts.inference.plots.style import BLUE, ORANGE, VERMILLION, axes
from vae4counts.inference.posterior.predictive_checks import (
    INTERVAL,
    LIBRARY_QUANTILES,
    PredictiveChecks,
)

WHAT = {"model": "replicates from the model", "posterior": "replicates given each observation"}
SHARE = f"{INTERVAL[1] - INTERVAL[0]:.0%}"


def zeros(checks: PredictiveChecks, *, ax: Axes | None = None) -> Axes:
    """Draw each feature's share of zeros, replicated against observed."""
    return _replicated_against_observed(checks, "zeros", "share of zeros", ax)


def maximum(checks: PredictiveChecks, *, ax: Axes | None = None) -> Axes:
    """Draw each feature's largest count, replicated against observed."""
    ax = _replicated_against_observed(checks, "maximum", "largest count", ax)
    ax.set(xscale="symlog", yscale="symlog", xlim=(0, None), ylim=(0, None))
    return ax


def mean_variance(checks: PredictiveChecks, *, ax: Axes | None = None) -> Axes:
    """Draw each feature's variance over its mean, 1 for Poisson counts, against its mean."""
    ax = _against_the_mean(checks, "variance over mean", ax)
    ax.axhline(1, color="grey", linestyle=":", zorder=0)
    ax.annotate("Poisson", (1, 1), xycoords=("axes fraction", "data"), color="grey", ha="right")
    return ax


def coefficient_of_variation(checks: PredictiveChecks, *, ax: Axes | None = None) -> Axes:
    """Draw each feature's coefficient of variation against its mean."""
    return _against_the_mean(checks, "coefficient of variation", ax)


def library_size(checks: PredictiveChecks, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution function of the library size."""
    ax = axes(ax)
    low, middle, high = _replicates(checks, "library size")
    ax.fill_betweenx(LIBRARY_QUANTILES, low, high, color=ORANGE, alpha=0.4, linewidth=0)
    ax.plot(middle, LIBRARY_QUANTILES, color=ORANGE, label=_label(checks))
    observed = checks.observed["library size"]
    ax.plot(observed, LIBRARY_QUANTILES, "o-", color=BLUE, markersize=4, label="data")
    ax.set(xlabel="library size (counts)", ylabel="share of observations below", ylim=(0, 1))
    return _finish(checks, "library size", ax)


def _replicated_against_observed(
    checks: PredictiveChecks, name: str, what: str, ax: Axes | None
) -> Axes:
    ax = axes(ax)
    low, middle, high = _replicates(checks, name)
    observed = checks.observed[name]
    _features(checks, name, observed, middle, observed > -np.inf, ax)
    ends = [min(observed.min(), low.min()), max(observed.max(), high.max())]
    ax.plot(ends, ends, color="grey", linestyle=":", zorder=0, label="no difference")
    ax.set(xlabel=f"{what}, data", ylabel=f"{what}, replicates")
    return _finish(checks, name, ax)


def _against_the_mean(checks: PredictiveChecks, name: str, ax: Axes | None) -> Axes:
    ax = axes(ax)
    mean, observed = checks.observed["mean"], checks.observed[name]
    positive = (mean > 0) & (observed > 0) & (_replicates(checks, name)[0] > 0)
    _features(checks, name, mean, observed, positive, ax)
    if positive.any():  # a logarithmic axis needs something to show
        ax.set(xscale="log", yscale="log")
    ax.set(xlabel="mean count", ylabel=f"{name}, data")
    return _finish(checks, name, ax)


def _features(
    checks: PredictiveChecks, name: str, x: np.ndarray, y: np.ndarray, shown: np.ndarray, ax: Axes
) -> None:
    """Draw the replicates' interval of each feature, and a point for the data, in or out of it."""
    low, _, high = _replicates(checks, name)
    inside = (checks.observed[name] >= low) & (checks.observed[name] <= high)
    ax.vlines(x[shown], low[shown], high[shown], color=ORANGE, alpha=0.25, label=_label(checks))
    for chosen, where, colour, marker in (
        (inside, "inside", BLUE, "o"),
        (~inside, "outside", VERMILLION, "^"),
    ):
        drawn = chosen & shown
        label = f"features {where}: {chosen.mean():.0%}"
        ax.scatter(x[drawn], y[drawn], s=12, linewidths=0, color=colour, marker=marker, label=label)


def _replicates(checks: PredictiveChecks, name: str) -> np.ndarray:
    """Return the lower end, the median and the upper end of the replicates, shape ``(3, G)``."""
    return np.quantile(checks.replicated[name], (INTERVAL[0], 0.5, INTERVAL[1]), axis=0)


def _label(checks: PredictiveChecks) -> str:
    return f"{WHAT[checks.replicates]}, {SHARE}"


def _finish(checks: PredictiveChecks, name: str, ax: Axes) -> Axes:
    discrepancy, p = float(checks.table["discrepancy"][name]), checks.p_value_text(name)
    ax.set_title(f"{name[0].upper()}{name[1:]}: discrepancy {discrepancy:.1f}, {p}")
    # over the features, which may be anywhere
    ax.legend(framealpha=0.85, edgecolor="none", fontsize="small")
    return ax


FIGURES: dict[str, Callable[..., Axes]] = {
    "zeros": zeros,
    "variance over mean": mean_variance,
    "coefficient of variation": coefficient_of_variation,
    "maximum": maximum,
    "library size": library_size,
}
