"""Covariates: what is known about each observation beside its counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from vae4counts.data.counts.columns import class_name, covariate_tensors, find_column, levels_of
from vae4counts.data.errors import DataError
from vae4counts.models.config import Configured

if TYPE_CHECKING:
    from anndata import AnnData

Columns = Mapping[str, Tensor]
"""Values of covariates by name: codes of levels (int64) or numbers, ``(B,)`` each."""

NO_COLUMNS: Columns = MappingProxyType({})

At = Mapping[str, "str | float"]
"""Values at which covariates are held, by name: ``{"batch": "A", "percent_mito": 5.0}``."""

# Averages take the most frequent combinations of levels: each costs a pass of the decoder.
MOST_COMBINATIONS = 32


class Factor(Configured):
    """A categorical covariate.

    Args:
        name: The column of ``obs``.
        levels: Its levels in the order of their codes, as text.
        embedding: Dimension of a learnt vector for each level; None for one column a level. A
            factor of many levels, such as donors, has fewer parameters so.
    """

    def __init__(self, name: str, levels: Sequence[str], embedding: int | None = None) -> None:
        self.name, self.levels, self.embedding = name, list(levels), embedding

    @property
    def width(self) -> int:
        """Number of columns of the design that the factor takes."""
        return self.embedding or len(self.levels)

    def code(self, level: object) -> int:
        """Return the code of a level.

        Raises:
            DataError: There is no such level; the known ones are listed.
        """
        name = class_name(level)
        if name not in self.levels:
            known = ", ".join(map(repr, self.levels))
            raise DataError(f"{self.name!r} has no level {name!r}. Known levels: {known}.")
        return self.levels.index(name)


class Number(Configured):
    """A continuous covariate.

    Args:
        name: The column of ``obs``.
        mean: Mean of the training observations, which is subtracted.
        deviation: Their standard deviation, by which is divided.
    """

    def __init__(self, name: str, mean: float = 0.0, deviation: float = 1.0) -> None:
        self.name, self.mean, self.deviation = name, mean, deviation


class Covariates(Configured, nn.Module):
    """The covariates of a model or guide, and their part of its inputs: the design.

    A categorical covariate gives a column for each level, 1 for the observations that have it (or
    the learnt vector of the level); a continuous one its value in standard deviations from the
    mean. Make them with `of`; without any they do nothing.

    Args:
        factors: The categorical covariates.
        numbers: The continuous ones.
        combinations: Combinations of levels that observations have: the share of each and the codes
            of its levels, in the order of the factors. Set by `learn`.
    """

    def __init__(
        self,
        factors: Sequence[Factor] = (),
        numbers: Sequence[Number] = (),
        combinations: Sequence[Sequence[float]] = (),
    ) -> None:
        super().__init__()
        self.factors, self.numbers = list(factors), list(numbers)
        self.combinations = [list(each) for each in combinations]
        self.embeddings = nn.ParameterList(
            nn.Parameter(0.1 * torch.randn(len(factor.levels), factor.embedding))
            for factor in self.factors
            if factor.embedding
        )

    @classmethod
    def of(
        cls,
        adata: AnnData,
        categorical: Sequence[str] = (),
        continuous: Sequence[str] = (),
        *,
        embedding: int | None = None,
    ) -> Covariates:
        """Declare columns of ``obs`` as covariates.

        Args:
            adata: The data, whose levels are taken: a fit knows no others.
            categorical: Columns of classes, of any type; numbers are compared as text.
            continuous: Columns of numbers.
            embedding: The dimension of the learnt vectors of levels, for factors that have more
                levels than that.

        Raises:
            DataError: A column is declared twice, has a missing value, or holds no numbers although
                it is declared as continuous.
            UnknownName: There is no such column.
        """
        for kind, names in (("categorical", categorical), ("continuous", continuous)):
            if isinstance(names, str):
                raise DataError(f"{kind} is {names!r}: give a list of names")
        names = [*categorical, *continuous]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"column {name!r} is declared twice: name it once")
        factors = []
        for name in categorical:
            levels = levels_of(find_column(adata.obs, name))
            many = embedding is not None and len(levels) > embedding
            factors.append(Factor(name, levels, embedding if many else None))
        found = cls(factors, [Number(name) for name in continuous])
        found.learn(covariate_tensors(adata.obs, found.columns))
        return found

    def __bool__(self) -> bool:
        return bool(self.factors or self.numbers)

    @property
    def width(self) -> int:
        """Number ``C`` of columns of the design."""
        return sum(factor.width for factor in self.factors) + len(self.numbers)

    @property
    def names(self) -> list[str]:
        """The names of the covariates."""
        return [each.name for each in self.factors] + [each.name for each in self.numbers]

    @property
    def columns(self) -> dict[str, list[str] | None]:
        """The columns of ``obs`` to put into batches, with their levels; None for numbers."""
        found: dict[str, list[str] | None] = {each.name: each.levels for each in self.factors}
        return found | {each.name: None for each in self.numbers}

    @property
    def n_levels(self) -> dict[str, int]:
        """The number of levels of each categorical covariate."""
        return {factor.name: len(factor.levels) for factor in self.factors}

    def shares(self, name: str) -> np.ndarray:
        """Return the share of the training observations that has each level of a factor."""
        number = [factor.name for factor in self.factors].index(name)
        found = np.zeros(self.n_levels[name])
        for share, *codes in self.combinations:
            found[int(codes[number])] += share
        return found

    def learn(self, columns: Columns) -> None:
        """Take the scales and frequencies of observations: of those of `of`, then of a fit's.

        Args:
            columns: Their values, shape ``(N,)`` each.
        """
        for number in self.numbers:
            values = columns[number.name].double()
            number.mean = values.mean().item()
            number.deviation = values.std(correction=0).item() or 1.0
        if not self.factors:
            return
        codes = torch.stack([columns[factor.name] for factor in self.factors], 1).cpu().numpy()
        found, counts = np.unique(codes, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        self.combinations = [
            [float(counts[row] / len(codes)), *map(int, found[row])] for row in order
        ]

    def forward(self, columns: Columns) -> Tensor:
        """Return the design, shape ``(*batch, C)``.

        Args:
            columns: Values of the covariates, shape ``(*batch,)`` each.

        Raises:
            DataError: One of them is missing.
        """
        parts, embeddings = [], iter(self.embeddings)
        try:
            for factor in self.factors:
                codes = columns[factor.name]
                if factor.embedding:
                    parts.append(nn.functional.embedding(codes, next(embeddings)))
                else:
                    levels = torch.arange(factor.width, device=codes.device)
                    parts.append((codes.unsqueeze(-1) == levels).to(torch.get_default_dtype()))
            for number in self.numbers:
                scaled = (columns[number.name] - number.mean) / number.deviation
                parts.append(scaled.unsqueeze(-1))
        except KeyError as error:
            raise DataError(
                f"the batch has no covariate {error}: read the data with "
                "counts_of(adata, covariates=model.covariates.columns)"
            ) from None
        return torch.cat(parts, -1)

    def beside(self, values: Tensor, columns: Columns) -> Tensor:
        """Return values with the design beside them, ``(*batch, L + C)``.

        Args:
            values: Shape ``(*batch, L)``; returned as they are if there are no covariates.
            columns: Values of the covariates, broadcastable to ``(*batch,)``.
        """
        if not self:
            return values
        design = self(columns)
        return torch.cat([values, design.expand(*values.shape[:-1], -1)], -1)

    def held(self, at: At | None, device: torch.device) -> list[tuple[float, Columns]]:
        """Return combinations of values over which is averaged, and their shares.

        Categorical covariates that are not held are averaged over the combinations of levels in
        the training observations, the 32 most frequent ones if there are more; continuous ones
        have their mean.

        Args:
            at: Values at which covariates are held.
            device: Where the values are to be.

        Returns:
            For each combination its share, summing to 1, and the values, of shape ``()``.

        Raises:
            DataError: There is no such covariate or level, or a number is not one.
        """
        at = dict(at or {})
        for name in at:
            if name not in self.names:
                known = ", ".join(map(repr, self.names)) or "it has none"
                raise DataError(f"the model has no covariate {name!r}. Its covariates: {known}.")
        fixed = {f.name: f.code(at[f.name]) for f in self.factors if f.name in at}
        numbers = {each.name: _number(each, at.get(each.name)) for each in self.numbers}
        shares: dict[tuple[int, ...], float] = {}
        for share, *codes in self.combinations or [[1.0, *(0 for _ in self.factors)]]:
            key = tuple(
                fixed.get(factor.name, int(code))
                for factor, code in zip(self.factors, codes, strict=True)
            )
            shares[key] = shares.get(key, 0.0) + share
        kept = sorted(shares.items(), key=lambda item: -item[1])[:MOST_COMBINATIONS]
        total = sum(share for _, share in kept)
        names = [factor.name for factor in self.factors]
        return [
            (
                share / total,
                {
                    name: torch.tensor(value, device=device)
                    for name, value in {**dict(zip(names, key, strict=True)), **numbers}.items()
                },
            )
            for key, share in kept
        ]

    def drawn(self, n: int, at: At | None, device: torch.device) -> Columns:
        """Return values for ``n`` draws, combinations in proportion to their shares: see `held`."""
        held = self.held(at, device)
        ends = torch.tensor([share for share, _ in held], dtype=torch.float64).cumsum(0)
        places = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        which = torch.searchsorted(ends, places).clamp_max(len(held) - 1)
        which = which[torch.randperm(n)].to(device) if len(held) > 1 else which.to(device)
        return {name: torch.stack([v[name] for _, v in held])[which] for name in self.names}

    def named(self, columns: Columns) -> dict[str, np.ndarray]:
        """Return values of the covariates as in ``obs``: levels by their names, numbers as such."""
        levels = {
            each.name: np.array(each.levels)[columns[each.name].cpu().numpy()]
            for each in self.factors
        }
        return levels | {each.name: columns[each.name].cpu().numpy() for each in self.numbers}

    def extra_repr(self) -> str:
        """Return the covariates, with the number of levels of each."""
        factors = [f"{each.name} ({len(each.levels)} levels)" for each in self.factors]
        return ", ".join([*factors, *(each.name for each in self.numbers)])


def joined_columns(*parts: Covariates) -> dict[str, list[str] | None]:
    """Return the columns that several sets of covariates need together.

    Raises:
        DataError: Two of them have a covariate of one name with other levels.
    """
    joined: dict[str, list[str] | None] = {}
    for part in parts:
        for name, levels in part.columns.items():
            if joined.setdefault(name, levels) != levels:
                raise DataError(f"model and guide have different levels of {name!r}")
    return joined


def levels_by(by: str, n_levels: Mapping[str, int]) -> int:
    """Return the number of levels of a categorical covariate.

    Raises:
        ValueError: The model does not have it.
    """
    if by not in n_levels:
        known = ", ".join(map(repr, n_levels)) or "it has none"
        raise ValueError(f"by is {by!r}: the model's categorical covariates: {known}")
    return n_levels[by]


def _number(number: Number, value: str | float | None) -> float:
    if value is None:
        return number.mean
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{number.name!r} is held at {value!r}: it must be a number")
    return found
