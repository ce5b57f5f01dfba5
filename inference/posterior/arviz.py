"""What ArviZ gives and takes, for ArviZ 0.x and 1.x alike; no torch in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Groups = Mapping[str, Mapping[str, np.ndarray]]

# The last dimension of each variable that has one; others are numbered, as ArviZ does.
LAST_DIMENSION = {"z": "latent", "counts": "feature", "responsibilities": "component"}


def convert(groups: Groups, observations: Sequence[str], features: Sequence[str]) -> Any:
    """Names the dimensions of draws and hands them to ArviZ.

    Args:
        groups: Arrays by group and variable, of shape ``(chain, draw, obs, ...)``, but without
            the first two in the group ``observed_data``.
        observations: Names of the observations.
        features: Names of the features.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).
    """
    import arviz  # it takes seconds to import
    import xarray

    names = {"obs": list(observations), "feature": list(features)}
    datasets = {}
    for group, variables in groups.items():
        named = {name: (_dimensions(group, name, x.ndim), x) for name, x in variables.items()}
        dataset = xarray.Dataset(named, attrs={"inference_library": "vae4counts"})
        coordinates = {dim: names.get(str(dim), np.arange(n)) for dim, n in dataset.sizes.items()}
        datasets[group] = dataset.assign_coords(coordinates)
    if _version(arviz) >= 1:
        return xarray.DataTree.from_dict(datasets)
    return arviz.InferenceData(**datasets)


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance sampling (Vehtari et al. 2024).

    Args:
        log_weights: Logarithms of importance weights, float64 of shape ``(n, S)``, ``S`` at
            least 25, not all the same in a row.

    Returns:
        Smoothed log-weights, normalised to sum to one in each row, shape ``(n, S)``; and the
        shapes k of the tails, shape ``(n,)``.
    """
    import arviz

    if _version(arviz) >= 1:
        from arviz_stats.base import array_stats

        # it takes minus the log-weights, as of a leave-one-out log-likelihood
        return array_stats.psislw(-log_weights, axis=-1)
    return arviz.psislw(log_weights)


def _dimensions(group: str, name: str, number: int) -> list[str]:
    lead = ["obs"] if group == "observed_data" else ["chain", "draw", "obs"]
    further = number - len(lead)
    if further == 1 and name in LAST_DIMENSION:
        return [*lead, LAST_DIMENSION[name]]
    return [*lead, *(f"{name}_dim_{i}" for i in range(further))]


def _version(arviz: Any) -> int:
    return int(arviz.__version__.split(".")[0])
