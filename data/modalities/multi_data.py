"""Several modalities of the same observations, as MuData has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae4counts.data.errors import DataError, UnknownName

if TYPE_CHECKING:
    from anndata import AnnData


class MultiData:
    """Observations of several modalities, each an AnnData of those that have it.

    What of MuData's interface this package needs, without the package mudata: a MuData can stand
    in its place everywhere, and `modalities_of` makes one of these from it.

    Args:
        mod: The modalities by name. Observations of one name are the same.
        obs: Table of all observations, whose order is kept; observations that only modalities
            have come after them. Columns of modalities' own tables are added, see `joined_obs`.
        layers: For each modality the layer that holds its values; None, or without a word, for
            ``X``.
        obsm: Arrays of all observations, by name.
        uns: Anything else, by name.
        source: What this was made from, into which results are written; itself if None.

    Attributes:
        mod: As given, a dictionary.
        obs: Table of all ``N`` observations.
        layer_of: The layer of each modality.
        obsm: As given, a dictionary.
        uns: As given, a dictionary.
        source: As given.

    Raises:
        DataError: There is no modality, or one names an observation twice.
    """

    def __init__(
        self,
        mod: Mapping[str, AnnData],
        obs: pd.DataFrame | None = None,
        *,
        layers: Mapping[str, str | None] | None = None,
        obsm: Mapping[str, Any] | None = None,
        uns: Mapping[str, Any] | None = None,
        source: Any = None,
    ) -> None:
        if not mod:
            raise DataError("There is no modality.")
        for name, adata in mod.items():
            check_names(adata.obs_names, f"Modality {name!r}")
        self.mod = dict(mod)
        self.obs = joined_obs(mod, obs)
        self.layer_of = {name: (layers or {}).get(name) for name in mod}
        self.obsm = dict(obsm or {})
        self.uns = dict(uns or {})
        self.source = self if source is None else source

    is_view = False
    """As an AnnData that is no view of another: results may be written into it."""

    def __repr__(self) -> str:
        sizes = (f"{name}: {each.n_obs} x {each.n_vars}" for name, each in self.mod.items())
        return f"MultiData({self.n_obs} observations; {', '.join(sizes)})"

    def __getitem__(self, name: str) -> AnnData:
        return self.mod[name]

    @property
    def obs_names(self) -> pd.Index:
        """Names of all observations."""
        return self.obs.index

    @property
    def n_obs(self) -> int:
        """The number of observations ``N``."""
        return len(self.obs)

    def only(self, names: Sequence[str]) -> MultiData:
        """Return some of the modalities, with the same observations.

        Raises:
            UnknownName: There is no such modality.
        """
        for name in names:
            if name not in self.mod:
                raise UnknownName("modality", name, self.mod)
        mod = {name: self.mod[name] for name in names}
        return MultiData(mod, self.obs, layers=self.layer_of, obsm=self.obsm, uns=self.uns)

    def with_modality(self, name: str, adata: AnnData) -> MultiData:
        """Return the same data with another AnnData for a modality, such as some of its features.

        Results are written into the new data, or into the AnnData or MuData that these are from.
        """
        source = None if isinstance(self.source, MultiData) else self.source
        return MultiData(
            {**self.mod, name: adata},
            self.obs,
            layers=self.layer_of,
            obsm=self.obsm,
            uns=self.uns,
            source=source,
        )

    def rows(self, name: str) -> np.ndarray:
        """Return where each observation is in a modality, shape ``(N,)``; -1 where it is not."""
        return self.mod[name].obs_names.get_indexer(self.obs_names)


def is_multi(data: Any) -> bool:
    """Tell whether data have modalities: a `MultiData` or a MuData."""
    return isinstance(getattr(data, "mod", None), Mapping)


def joined_obs(mod: Mapping[str, AnnData], obs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one table of all observations of several modalities.

    Args:
        mod: The modalities; each names an observation once.
        obs: A table of observations that comes first, and whose columns count.

    Returns:
        A row for each observation: those of ``obs`` in order, then further ones as the modalities
        name them. Beside the columns of ``obs`` it has those of the modalities, in MuData's way as
        ``"rna:batch"``, and as ``"batch"`` with the value of the first modality that has one.

    Raises:
        DataError: ``obs`` names an observation twice.
    """
    names = pd.Index([], dtype=object) if obs is None else obs.index
    check_names(names, "The table of all observations")
    for adata in mod.values():
        names = names.append(adata.obs_names[~adata.obs_names.isin(names)])
    joined = pd.DataFrame(index=names) if obs is None else obs.reindex(names)
    new: dict[str, pd.Series] = {}
    for name, adata in mod.items():
        for column in adata.obs.columns:
            values = adata.obs[column].reindex(names)
            if (long := f"{name}:{column}") not in joined:
                new[long] = values
            if column not in joined:
                before = new.get(column)
                new[column] = values if before is None else _filled(before, values)
    return pd.concat([joined, pd.DataFrame(new, index=names)], axis=1)


def _filled(values: pd.Series, others: pd.Series) -> pd.Series:
    """Fill missing values in from another column, whatever the types of the two."""
    whole = values.astype(object).where(values.notna(), others.astype(object))
    return whole.infer_objects()


def check_names(names: pd.Index, what: str) -> None:
    """Raise a `DataError` if something names an observation twice."""
    if (repeated := names.duplicated()).any():
        raise DataError(
            f"{what} names the observation {names[int(repeated.argmax())]!r} twice: the names tell "
            "which observations of the modalities are the same."
        )
