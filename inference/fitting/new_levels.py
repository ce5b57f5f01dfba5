"""A fitted pair with more levels of its covariates, all else being the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from vae4counts.data import Counts, DataError, find_column
from vae4counts.data.counts.columns import levels_of
from vae4counts.guides import Guide
from vae4counts.inference.fitting.start import start_from_data
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.run import format as run_format
from vae4counts.inference.run.fitted_pair import FittedPair, pair_of
from vae4counts.models import Model
from vae4counts.models.config import key_of
from vae4counts.models.covariates import Covariates, Factor

CPU = torch.device("cpu")


def unknown_levels(run: FittedPair, obs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the levels of a run's categorical covariates that data have and the run does not.

    Raises:
        DataError: The run has no categorical covariate, or knows all levels; it says what to do
            instead.
        UnknownName: The data lack a covariate.
    """
    known = {name: own for name, own in run.covariate_columns.items() if own is not None}
    if not known:
        raise DataError(
            "the run has no categorical covariate, so that nothing belongs to the new data alone: "
            "fit a model with covariates=Covariates.of(adata, ['batch']), or continue this one "
            "with fit(run.model, run.guide, adata, schedule=Schedule(warm_start=True))"
        )
    found = {name: levels_of(find_column(obs, name)) for name in known}
    new = {
        name: [level for level in levels if level not in known[name]]
        for name, levels in found.items()
    }
    if not any(new.values()):
        names = " and ".join(map(repr, known))
        raise DataError(
            f"the run knows all levels of {names} in these data: ask it about them as it is "
            "(run.evaluate, run.annotate), or train it further with "
            "fit(run.model, run.guide, adata, schedule=Schedule(warm_start=True))"
        )
    return {name: levels for name, levels in new.items() if levels}


@dataclass(frozen=True)
class ExtendedPair:
    """A copy of a fitted pair that has further levels.

    What belongs to a new level is the mean of what belongs to the old ones, weighted by how many
    training observations they have: a new batch starts as the average one. All else is as it was,
    averages over the levels of covariates included: they are those over the old levels.

    Attributes:
        model: The model.
        guide: Its guide.
        is_new: For each tensor of their state that has grown, by its name in `pair_of`, which of
            its entries belong to new levels.
    """

    model: Model
    guide: Guide
    is_new: Mapping[str, Tensor]

    @classmethod
    def of(cls, run: FittedPair, new: Mapping[str, Sequence[str]]) -> ExtendedPair:
        """Give a copy of a run's pair further levels.

        Args:
            run: The run, which is left as it is.
            new: The new levels of each categorical covariate, which follow the old ones.

        Raises:
            TypeError: The pair cannot be described, and so not be made with more levels.
        """
        pair: dict[str, Model | Guide] = {"model": run.model, "guide": run.guide}
        config: dict[str, Any] = {part: each.config() for part, each in pair.items()}
        state = {
            name: each.detach().to(CPU)
            for name, each in pair_of(run.model, run.guide).state_dict().items()
        }
        is_new: dict[str, Tensor] = {}
        # one covariate after the other, so that it is clear to which an entry belongs
        for number, (factor, levels) in enumerate(new.items()):
            earlier = list(new.items())[:number]
            config = {part: _with_levels(each, factor, levels) for part, each in config.items()}
            for name, shape in run_format.shapes(config).items():
                if state[name].shape == shape:
                    continue
                covariates = pair[name.partition(".")[0]].covariates
                place = _Place.of(covariates, factor, dict(earlier))
                mask = is_new.get(name, torch.zeros_like(state[name], dtype=torch.bool))
                state[name], is_new[name] = place.grow(state[name], mask, shape)
        with own_randomness(CPU, seed=0):
            model, guide = run_format.make_pair(config)
        pair_of(model, guide).load_state_dict(state)
        return cls(model, guide, is_new)

    @torch.no_grad()
    def start_buffers(self, counts: Counts, seed: int) -> None:
        """Set what is no parameter, as a library's moments, from observations of new levels."""
        own = pair_of(self.model, self.guide)
        buffers = {name: each for name, each in own.named_buffers() if name in self.is_new}
        if not buffers:
            return
        model, guide = copy.deepcopy((self.model, self.guide))
        start_from_data(model, guide, counts, seed)
        fresh = pair_of(model, guide)
        for name, buffer in buffers.items():
            buffer.copy_(torch.where(self.is_new[name], fresh.get_buffer(name), buffer))

    @contextmanager
    def only_new_trained(self) -> Iterator[None]:
        """Freeze all but what belongs to new levels, and leave dropout out.

        Adam leaves entries whose gradients are always zero exactly as they are.
        """
        pair = pair_of(self.model, self.guide)
        trained = [(each, each.requires_grad) for each in pair.parameters()]
        dropouts = [(each, each.p) for each in pair.modules() if isinstance(each, nn.Dropout)]
        hooks = []
        for name, parameter in pair.named_parameters():
            parameter.requires_grad_(name in self.is_new)
            if name in self.is_new:
                hooks.append(parameter.register_hook(_only(self.is_new[name])))
        for dropout, _ in dropouts:
            dropout.p = 0.0
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for dropout, p in dropouts:
                dropout.p = p
            for parameter, before in trained:
                parameter.requires_grad_(before)


@dataclass(frozen=True)
class _Place:
    """Where in a tensor the entries of a covariate's levels are.

    Attributes:
        shares: How many of the training observations have each level, those that were new a
            moment ago left out.
        after: Columns of the design behind the covariate's. Every layer that reads the design has
            it last among its inputs; a table with a row for each level has none behind.
    """

    shares: Tensor
    after: int

    @classmethod
    def of(cls, covariates: Covariates, name: str, earlier: Mapping[str, Sequence[str]]) -> _Place:
        """Find the place of a covariate, some others of which have grown."""
        names = [factor.name for factor in covariates.factors]
        number = names.index(name)
        shares = torch.from_numpy(covariates.shares(name))
        if not shares.any():
            shares += 1
        later = covariates.factors[number + 1 :]
        grown = sum(len(earlier.get(f.name, ())) for f in later if f.embedding is None)
        width = sum(factor.width for factor in later) + grown + len(covariates.numbers)
        return cls(shares / shares.sum(), width)

    def grow(self, values: Tensor, is_new: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Put entries for new levels behind those of the old ones.

        Args:
            values: A tensor that has grown along one axis.
            is_new: Which of its entries were new before.
            shape: The shape that it is to have.

        Returns:
            The values, and which of them are new.
        """
        n_old = len(self.shares)
        (axis,) = (i for i, size in enumerate(values.shape) if size != shape[i])
        end = values.shape[axis] - (0 if values.shape[axis] == n_old else self.after)
        shares = self.shares.view(-1, *[1] * (values.dim() - axis - 1))
        mean = (values.narrow(axis, end - n_old, n_old) * shares).sum(axis, keepdim=True)
        n_new = shape[axis] - values.shape[axis]
        repeats = [n_new if i == axis else 1 for i in range(values.dim())]
        added = mean.to(values.dtype).repeat(repeats)

        def joined(old: Tensor, new: Tensor) -> Tensor:
            first, last = old.narrow(axis, 0, end), old.narrow(axis, end, old.shape[axis] - end)
            return torch.cat([first, new, last], axis)

        return joined(values, added), joined(is_new, torch.ones_like(added, dtype=torch.bool))


def _with_levels(config: Any, name: str, new: Sequence[str]) -> Any:
    """A description in which a categorical covariate has further levels."""
    if isinstance(config, list):
        return [_with_levels(item, name, new) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("type") == key_of(Factor) and config["name"] == name:
        return {**config, "levels": [*config["levels"], *new]}
    return {key: _with_levels(value, name, new) for key, value in config.items()}


def _only(mask: Tensor) -> Callable[[Tensor], Tensor]:
    """A hook that leaves of a gradient only some entries."""
    return lambda gradient: torch.where(mask.to(gradient.device), gradient, 0.0)
