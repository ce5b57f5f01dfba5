"""What ArviZ takes and gives, for ArviZ 0.x and 1.x alike, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Groups = Mapping[str, Mapping[str, np.ndarray]]
# What a group's attributes say about it.
NOTES = {
    "log_likelihood": (
        "Given each observation's own latents: not for arviz.loo, arviz.waic or arviz.compare. "
        "Compare runs by vae4counts.inference.compare."
    )
}


def convert(
    groups: Groups,
    observations: Sequence[str],
    features: Mapping[str, Sequence[str]],
    dimensions: Mapping[str, str],
    covariates: Mapping[str, np.ndarray],
) -> Any:
    """Name the dimensions of draws and hand them to ArviZ.

    Args:
        groups: Arrays by group and variable, of shape ``(chain, draw, obs, ...)``, but without
            the first two in the group ``observed_data``.
        observations: Names of the observations.
        features: Names of features, the coordinates of the dimensions of these names.
        dimensions: The name of the last dimension of each variable that has one more; further
            dimensions are numbered, as ArviZ does.
        covariates: What is known of each observation, by name, ``(N,)`` each: coordinates along
            ``obs``, by which draws can be selected and grouped.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).
    """
    import arviz  # it takes seconds to import
    import xarray

    names = {"obs": list(observations), **{dim: list(each) for dim, each in features.items()}}
    datasets = {}
    for group, variables in groups.items():
        lead = ["obs"] if group == "observed_data" else ["chain", "draw", "obs"]
        named = {
            name: ([*lead, *_further(name, x.ndim - len(lead), dimensions)], x)
            for name, x in variables.items()
        }
        note = {"note": NOTES[group]} if group in NOTES else {}
        dataset = xarray.Dataset(named, attrs={"inference_library": "vae4counts", **note})
        coordinates = {dim: names.get(str(dim), np.arange(n)) for dim, n in dataset.sizes.items()}
        known = {
            name if name not in dataset.variables else f"{name}_covariate": ("obs", values)
            for name, values in covariates.items()
        }
        datasets[group] = dataset.assign_coords(coordinates | known)
    if _version(arviz) >= 1:
        return xarray.DataTree.from_dict(datasets)
    return arviz.InferenceData(**datasets)


def _further(name: str, number: int, dimensions: Mapping[str, str]) -> list[str]:
    if number == 1 and name in dimensions:
        return [dimensions[name]]
    return [f"{name}_dim_{i}" for i in range(number)]


def _version(arviz: Any) -> int:
    return int(arviz.__version__.split(".")[0])
