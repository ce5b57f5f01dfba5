"""What a model declares of its sites, and the plate that they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OBSERVATIONS = "observations"
"""The name of the plate over observations."""


@dataclass(frozen=True, slots=True)
class Latent:
    """A latent site of a model, inside the observation plate.

    Attributes:
        name: The site's name.
        dimension: The name of its last axis in results; None for one number per observation.
        states: Number of states of a site that the model enumerates in parallel, so that it is
            summed out unless the guide samples it; None for a site that the guide must sample.
    """

    name: str
    dimension: str | None = None
    states: int | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a model declares of one of its tables; see `Model` for the meaning of each.

    Attributes:
        holds_counts: Whether the site's log-probability is one of counts, and its draws are counts.
        given_library: Whether the total counts are given.
        given_total: Whether the counts are modelled given that they add up to them.
        lumped_from: The count from which on all counts are one class; None for no such count.
    """

    holds_counts: bool
    given_library: bool
    given_total: bool
    lumped_from: int | None


def plate_sites(trace: Any) -> list[str]:
    """Return the names of the sample sites inside the observation plate, in the model's order."""
    return [
        name
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and any(frame.name == OBSERVATIONS for frame in site["cond_indep_stack"])
    ]
