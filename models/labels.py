"""Partial labels: classes that are known of some observations, as components of a mixture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor

from vae4counts.data.counts.columns import classes_of, find_column, levels_of
from vae4counts.data.errors import DataError
from vae4counts.models.config import Configured

if TYPE_CHECKING:
    from anndata import AnnData

UNLABELLED = -1
"""The code of an observation whose class is not known."""

# Added to the log-probability of a component that the label excludes: exp gives exactly 0.
EXCLUDED = -1e4


class Labels(Configured):
    r"""A column of known classes, missing for any number of observations.

    Component ``k`` of a model's mixture prior is class ``k``: with the label ``y``,

    .. math:: p(\mathrm{component} = k, y) = \pi_k 1[k = y],

    so that an observation with a label has one component, and the others are summed over all of
    them, as without labels. There is no classifier and no weight to choose: the class of another
    observation is predicted by Bayes' rule, p(component | counts). A prior may have more
    components than there are classes: these are for unknown ones.

    Labels are read in training alone, of training and validation observations. Make them with
    `of`.

    Args:
        column: The column of ``obs``.
        classes: Its classes in the order of the components, as text.
        ignored: Values that are no class, such as "unknown".

    Raises:
        ValueError: There is no class, or one is named twice.
    """

    def __init__(self, column: str, classes: Sequence[str], ignored: Collection[str] = ()) -> None:
        self.column, self.classes, self.ignored = column, list(classes), list(ignored)
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes are {self.classes}: name one or more, each once")

    @classmethod
    def of(cls, adata: AnnData, column: str, ignored: Collection[str] = ()) -> Labels:
        """Take the classes of a column of ``obs``, in sorted order, and numbers by their size.

        Args:
            adata: The data.
            column: The column, of any type: numbers and truth values are classes by their text.
                Missing values (NaN, empty text, "nan") are of unlabelled observations.
            ignored: Values that are no class either, such as "unknown".

        Raises:
            DataError: No observation has a class.
            UnknownName: There is no such column.
        """
        if isinstance(ignored, str):
            raise DataError(f"ignored is {ignored!r}: give a list of values")
        found = find_column(adata.obs, column)
        classes = [name for name in levels_of(found) if name not in ignored]
        if not classes:
            raise DataError(f"The label column {column!r} has no value: name another, or none.")
        return cls(column, classes, ignored)

    def codes(self, obs: pd.DataFrame) -> Tensor:
        """Return the component of each observation's class, -1 without a label.

        Args:
            obs: Table of ``N`` observations.

        Returns:
            Int64, shape ``(N,)``.

        Raises:
            DataError: A class is none of the model's; names the first row, and lists them.
            UnknownName: There is no such column.
        """
        words = classes_of(find_column(obs, self.column))
        words = words.where(~words.isin(self.ignored))
        codes = words.map({name: code for code, name in enumerate(self.classes)})
        unknown = (words.notna() & codes.isna()).to_numpy()
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"Column {self.column!r} has the unknown class {words.iloc[row]!r} at row {row} "
                f"({obs.index[row]!r}). Known classes: {', '.join(map(repr, self.classes))}. "
                "Ignore it, or make the model with the labels of these data."
            )
        return torch.tensor(codes.fillna(UNLABELLED).to_numpy(dtype="int64"))

    def names(self, n_components: int) -> list[str]:
        """Return a name for each component: the classes, then "unknown 1", "unknown 2" ..."""
        free = (name for i in count(1) if (name := f"unknown {i}") not in self.classes)
        return [*self.classes, *islice(free, n_components - len(self.classes))]

    def given(self, columns: Mapping[str, Tensor]) -> AbstractContextManager[object]:
        """Return a context in which a prior samples components as the labels of a batch say.

        Args:
            columns: The further columns of the batch; without the labels' own, nothing is known.
        """
        codes = columns.get(self.column)
        return nullcontext() if codes is None else _KnownComponents(codes)


class _KnownComponents(Messenger):
    """A handler that masks components out that labels exclude.

    What is sampled next sees the class of an observation with a label in place of each of its
    component's states. The excluded states have no probability in any case; but Pyro sums states
    out by exponentials of each site's own log-probabilities, which would leave nothing where ``z``
    is far likelier in an excluded state.
    """

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = codes

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["name"] == "component":
            message["fn"] = KnownComponent(message["fn"], self.codes)

    def _pyro_post_sample(self, message: dict[str, Any]) -> None:
        if message["name"] == "component":
            known = self.codes != UNLABELLED
            message["value"] = torch.where(known, self.codes, message["value"])


class KnownComponent(TorchDistribution):
    """p(component, label): that of the component where it is the label's or there is none, else 0.

    It is not normalised: a label ``y`` leaves ``log p(component = y)``, not 0.

    Args:
        component: p(component), enumerable.
        codes: The component of each label, or `UNLABELLED`, shape ``(*batch,)``.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)
    has_enumerate_support = True

    def __init__(self, component: Any, codes: Tensor) -> None:
        shape = torch.broadcast_shapes(component.batch_shape, codes.shape)
        self.component, self.codes = component.expand(shape), codes.expand(shape)
        super().__init__(shape, validate_args=False)

    @property
    def support(self) -> Any:
        """Those of the component."""
        return self.component.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> KnownComponent:
        """Return the distribution in a larger batch shape."""
        return KnownComponent(self.component.expand(batch_shape), self.codes)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return all states, also those that no label leaves."""
        states: Tensor = self.component.enumerate_support(expand)
        return states

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``log p(component = value, label)``, about -10,000 for what has no probability."""
        excluded = (self.codes != UNLABELLED) & (self.codes != value)
        log_prob: Tensor = self.component.log_prob(value)
        return log_prob + EXCLUDED * excluded

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draw components given the labels."""
        drawn = self.component.sample(sample_shape)
        return torch.where(self.codes != UNLABELLED, self.codes, drawn)
