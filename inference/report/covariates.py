"""The section about what the model is told of the observations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vae4counts.inference.interpretation import strongest_features
from vae4counts.inference.report.elements import paragraph, table
from vae4counts.inference.report.subject import Section, Subject
from vae4counts.models import NotInModelError

TOP = 6
# Standard errors to either side in an interval of 90 %.
OF_90 = 1.645
INTERVALS = (
    "After ± is half the width of an interval of 90 %, where the counts tell how well an effect is "
    "known."
)


def covariates(subject: Subject) -> Section | None:
    """List the covariates, and which features they change most."""
    known = subject.run.model.covariates
    if not known:
        return None
    shares = {
        f"{factor.name}={level}": share
        for factor in known.factors
        for level, share in zip(factor.levels, known.shares(factor.name), strict=True)
    }
    effects, errors = subject.view.covariate_effects(), _errors(subject)
    up, down = _top(effects, errors), _top(-effects, errors)
    rows = pd.DataFrame(
        {
            "share of the training observations": [shares.get(name) for name in effects.columns],
            "raises most": [up.get(name, "-") for name in effects.columns],
            "lowers most": [down.get(name, "-") for name in effects.columns],
        },
        index=pd.Index(effects.columns, name="covariate"),
    )
    held = ", ".join(f"{name} at {value}" for name, value in (subject.at or {}).items())
    words = (
        "The model is told these columns of obs, so that its latents need not hold what differs "
        "between them. Rates, component profiles and contrasts on this page "
        + (f"hold {held}." if held else "are averaged over the training observations' covariates.")
        + " The effects are log2 fold changes against the average level, and of a continuous "
        "covariate those of one standard deviation." + ("" if errors is None else f" {INTERVALS}")
    )
    return Section("Covariates", [paragraph(words), table(rows, "Covariates and their effects")])


def _errors(subject: Subject) -> pd.DataFrame | None:
    """The standard errors of the effects; None for a likelihood without rates."""
    try:
        return subject.view.covariate_errors(n_training=len(subject.run.split.train))
    except NotInModelError:
        return None


def _top(effects: pd.DataFrame, errors: pd.DataFrame | None) -> pd.Series:
    """The features with the largest positive effects of each column, in words."""
    by_row = effects.set_axis(range(len(effects))).rename_axis(columns="covariate")
    top = strongest_features(by_row, TOP)  # whose features are rows, since names may be repeated
    top = top[top["value"] > 0].astype({"covariate": str})
    words = []
    for name, row, value in zip(top["covariate"], top["feature"], top["value"], strict=True):
        width = np.nan if errors is None else OF_90 * errors[name].to_numpy()[row]
        known = f" ± {width:.1f}" if np.isfinite(width) else ""
        words.append(f"{effects.index[row]} ({value:.1f}{known})")
    return pd.Series(words, top.index, dtype=object).groupby(top["covariate"]).agg(", ".join)
