"""Colours of observations by any column of ``obs`` or any feature."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from vae4counts.data import CountLoader, UnknownName, classes_of
from vae4counts.inference.plots.colours import class_colours
from vae4counts.inference.posterior.tables import feature_columns
from vae4counts.inference.run.on_data import RunOnData

# Numbers are shown in so many steps, of which pale to dark is low to high.
STEPS = 7
SCALE = "cividis_r"
# Values beyond these quantiles do not stretch the steps.
LIMITS = (0.01, 0.99)


def coloured_by(on: RunOnData, name: str) -> tuple[pd.Series, dict[str, str]]:
    """Return the classes that observations are coloured by, and the colour of each.

    A column of numbers and a feature, whose counts are scaled to the median total, are cut into
    steps of equal width.

    Args:
        on: The run on data.
        name: A column of ``obs``, or else a feature of the model.

    Raises:
        UnknownName: There is neither.
    """
    obs = on.adata.obs
    if name not in obs and name not in on.run.features:
        raise UnknownName(
            "column of obs", name, obs.columns, advice="Nor is it a feature of the model."
        )
    values = obs[name] if name in obs else _scaled_counts(on, name)
    is_scale = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    steps = in_steps(values.to_numpy(dtype=float)) if is_scale else None
    if steps is not None:
        shades = colormaps[SCALE](np.linspace(0, 1, len(steps.categories)))
        colours = dict(zip(steps.categories, map(to_hex, shades), strict=True))
        return pd.Series(steps, name=name), colours
    classes = pd.Series(pd.Categorical(classes_of(values)), name=name)
    return classes, class_colours(list(classes.cat.categories))


def in_steps(values: np.ndarray) -> pd.Categorical | None:
    """Cut numbers into steps of equal width, from the lowest to the highest; None if all are equal.

    Zero is a step of its own where it is the least value, as it is of counts.

    Args:
        values: Shape ``(N,)``; NaN for what is missing.
    """
    known = values[np.isfinite(values)]
    has_zeros = bool(len(known)) and known.min() == 0
    rest = known[known > 0] if has_zeros else known
    if not len(rest) or known.min() == known.max():
        return None
    low, high = np.quantile(rest, LIMITS)
    edges = np.unique(np.linspace(low, high, STEPS + 1))[1:-1]
    inner = [f"{edge:.3g}" for edge in edges]
    names = [f"{low:.3g} or more"]
    if inner:
        between = [f"{a} to {b}" for a, b in pairwise(inner)]
        names = [f"up to {inner[0]}", *between, f"above {inner[-1]}"]
    codes = np.digitize(values, edges, right=True)
    if has_zeros:
        names, codes = ["0", *names], np.where(values > 0, codes + 1, 0)
    # steps that are too narrow for three digits have one name, and are one
    named = np.where(np.isfinite(values), np.array(names, dtype=object)[codes], None)
    return pd.Categorical(named, categories=list(dict.fromkeys(names)), ordered=True)


def _scaled_counts(on: RunOnData, feature: str) -> pd.Series:
    """The counts of a feature at the median total; NaN for observations that lack its table."""
    features = np.array(on.run.features, dtype=object)
    of_tables = {
        name: features[feature_columns(on.run.model, name)] for name in on.run.model.tables
    }
    table = next(name for name, own in of_tables.items() if feature in own)
    column = int(np.flatnonzero(of_tables[table] == feature)[0])
    found, totals = [], []
    for batch in CountLoader(on.counts, batch_size=1024, shuffle=False):
        part = batch.tables[table]
        rows = np.arange(len(batch)) if part.rows is None else part.rows.cpu().numpy()
        count, total = np.full((2, len(batch)), np.nan)
        count[rows] = part.values.to_dense()[:, column].cpu().numpy()  # noqa: PD011 (a tensor)
        total[rows] = 1.0 if part.library is None else part.library.cpu().numpy()
        found.append(count)
        totals.append(total)
    count, total = np.concatenate(found), np.concatenate(totals)
    return pd.Series(count / np.maximum(total, 1) * max(np.nanmedian(total), 1), name=feature)
