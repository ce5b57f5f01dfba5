"""Posterior draws as ArviZ users know them, for ArviZ 0.x and 1.x; no torch in here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def convert(groups: dict[str, dict[str, np.ndarray]], observations: Sequence[str]) -> Any:
    """Names the dimensions of draws and hands them to ArviZ.

    Args:
        groups: Arrays of shape ``(chain, draw, obs)``, or ``(chain, draw, obs, latent)`` for
            ``"z"``, by group and name.
        observations: Names of the observations.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).
    """
    import arviz  # it takes seconds to import

    coords: dict[str, Any] = {"obs": list(observations)}
    dims = {name: ["obs"] for sites in groups.values() for name in sites}
    if "z" in groups["posterior"]:
        dims["z"] = ["obs", "latent"]
        coords["latent"] = np.arange(groups["posterior"]["z"].shape[-1])
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict(groups, coords=coords, dims=dims)
    named: dict[str, Any] = dict(groups)
    return arviz.from_dict(coords=coords, dims=dims, **named)
