"""The section about what the model is told of the observations."""

from __future__ import annotations

import pandas as pd

from vae4counts.inference.interpretation import strongest_features
from vae4counts.inference.report.elements import paragraph, table
from vae4counts.inference.report.subject import Section, Subject

TOP = 6


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
    effects = subject.view.covariate_effects()
    up, down = _top(effects), _top(-effects)
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
        "covariate those of one standard deviation."
    )
    return Section("Covariates", [paragraph(words), table(rows, "Covariates and their effects")])


def _top(effects: pd.DataFrame) -> pd.Series:
    """The features with the largest values of each column, in words."""
    top = strongest_features(effects.rename_axis(columns="covariate"), TOP)
    top = top[top["value"] > 0]
    words = top["feature"].astype(str) + [f" ({value:.1f})" for value in top["value"]]
    return words.groupby(top["covariate"].astype(str)).agg(", ".join)
