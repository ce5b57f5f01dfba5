"""The ways to draw from posteriors, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast, get_args

from vae4counts.data.progress.work import observation_bar
from vae4counts.guides import Guide
from vae4counts.guides.local import LocalGuide
from vae4counts.inference.posterior.samplers import HMC, FromGuide, Sampler
from vae4counts.inference.run.fitted_pair import FittedPair
from vae4counts.models import NotInModelError

Method = Literal["guide", "hmc"]


@contextmanager
def sampling(
    method: Method, run: FittedPair, guide: Guide, chains: int, n_observations: int
) -> Iterator[Sampler]:
    """Give what draws from the posteriors of observations, with a progress bar for chains.

    Args:
        method: "guide" or "hmc".
        run: The run.
        guide: The guide to draw from; the refined posteriors for "hmc".
        chains: Number of chains for "hmc".
        n_observations: Number of observations.

    Raises:
        NotInModelError: "hmc" for a model that sums all its latents out.
        ValueError: An unknown method, or fewer than 1 chain.
    """
    if method not in get_args(Method):
        raise ValueError(f"method is {method!r}: it must be one of {', '.join(get_args(Method))}")
    if chains < 1:
        raise ValueError(f"chains is {chains}: it must be 1 or more")
    if method == "guide":
        yield FromGuide(run.model, guide)
        return
    if run.model.is_exact:
        raise NotInModelError(f"{run.model.title} sums all its latents out: there is none to draw")
    visible = run.processes.is_first
    with observation_bar("Running chains", n_observations, visible=visible) as advance:
        yield HMC(run.model, cast(LocalGuide, guide), chains, advance=advance)
