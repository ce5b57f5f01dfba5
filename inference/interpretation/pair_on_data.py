"""A trained pair together with data: where every look inside starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data import CountLoader, Counts, DataError
from vae4counts.guides import Guide
from vae4counts.inference.posterior.annotation import latents_and_components
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, draw_latents
from vae4counts.inference.posterior.tables import feature_columns
from vae4counts.models import Model, NotInModelError
from vae4counts.models.covariates import At

# No chunk of draws has more rows than this, because an encoder's hidden layers take memory too.
CHUNK_ROWS = 4096


@dataclass(frozen=True, repr=False)
class PairOnData:
    """A trained pair and the observations to look at with it.

    Attributes:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        counts: The counts of the model's features, on the model's device.
        features: Names of the features, in the model's order.
        obs: The table of the observations.
        at: Values at which covariates are held in all that the decoder is asked; the others are
            averaged over the training observations, see `Covariates.held`.
    """

    model: Model
    guide: Guide
    counts: Counts
    features: list[str]
    obs: pd.DataFrame
    at: At | None = None

    def __repr__(self) -> str:
        size = f"{len(self.counts)} observations x {len(self.features)} features"
        return f"{type(self).__name__}({self.model.title}, {size})"

    @property
    def latents(self) -> pd.Index:
        """Names of the latents, ``z0`` to ``z{L-1}``.

        Raises:
            NotInModelError: The model has no latent space.
        """
        return latent_names(self._n_latent())

    def columns(self, features: Sequence[str] | None) -> np.ndarray:
        """Return the positions of features; of all if None.

        Raises:
            DataError: The model does not have one of them.
        """
        if features is None:
            return np.arange(len(self.features))
        if isinstance(features, str):
            raise DataError(f"features is {features!r}: give a list of names")
        position = {name: j for j, name in reversed(list(enumerate(self.features)))}
        for name in features:
            if name not in position:
                close = get_close_matches(str(name), self.features, n=1)
                hint = f": did you mean {close[0]!r}?" if close else ""
                raise DataError(f"the model has no feature {name!r}{hint}")
        return np.array([position[name] for name in features], dtype=np.int64)

    def rows(self, mask: np.ndarray, n: int) -> Tensor:
        """Draw ``n`` of the observations in a mask with equal probability, with replacement."""
        chosen = torch.as_tensor(np.flatnonzero(mask))
        return chosen[torch.randint(len(chosen), (n,))]

    @torch.no_grad()
    def draws(self, rows: Tensor, *, repeats: int = 1) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Draw latents from q(z | x), chunk by chunk.

        Args:
            rows: Positions of observations, in any order; they may be repeated.
            repeats: Draws for each of them, one after the other; no chunk ends between them.

        Yields:
            ``z`` of shape ``(B * repeats, L)`` and the library sizes, ``(B * repeats, M)`` for
            ``M`` tables, observed (see `library_sizes`) or drawn; None for a model without.

        Raises:
            NotInModelError: The model has no latent space.
        """
        self._n_latent()
        numbers = repeats * self.model.numbers_per_draw
        size = max(1, min(CHUNK_ROWS // repeats, CHUNK_NUMBERS // numbers))
        library = self.library_sizes() if self.model.scales_with_library else None
        for chunk in rows.split(size):
            index = chunk.repeat_interleave(repeats)
            batch = self.counts.batch(index)
            sites: Any = poutine.trace(self.guide).get_trace(batch).nodes
            sizes = None if library is None else library[batch.index]
            if sizes is not None:
                for table, latent in self.model.latent_libraries.items():
                    sizes[:, list(self.model.tables).index(table)] = sites[latent.site]["value"]
            yield sites["z"]["value"], sizes

    def library_sizes(self) -> Tensor:
        """Return the total counts of the observations in each of the model's ``M`` tables.

        Where an observation lacks a table it is the geometric mean of the others, or of training
        if all lack it; 1 in a table of values that are not counts.

        Returns:
            Shape ``(N, M)``.
        """
        known, typical = self.counts.libraries, self.model.library_sizes
        columns = [
            _filled(known[name], typical.get(name)) if name in known else None
            for name in self.model.tables
        ]
        one = torch.ones(len(self.counts), device=self.counts.device)
        return torch.stack([one if each is None else each for each in columns], -1)

    def table_columns(self, name: str) -> np.ndarray:
        """Return the positions of a table's features among those of the model.

        Raises:
            UnknownName: The model has no such table.
        """
        return np.arange(self.model.n_features)[feature_columns(self.model, name)]

    def with_value(self, covariate: str, value: str | float) -> PairOnData:
        """Return the same with one more covariate held."""
        return replace(self, at={**(self.at or {}), covariate: value})

    def rates(self, z: Tensor, library: Tensor | float | None) -> Tensor:
        """Return the counts expected at given latents: see `Model.rates`."""
        return self.model.rates(z, library, self.at)

    def comparable(self, means: Tensor, added: np.ndarray | float = 0.0) -> Tensor:
        """Return expected values on the scale on which they are compared: `Model.comparable`.

        Args:
            means: Shape ``(*batch, G)``.
            added: What is added to those of counts first, see `one_count`.
        """
        return self.model.comparable(
            means, torch.as_tensor(added, dtype=means.dtype, device=means.device)
        )

    def cloud(self, mask: np.ndarray, n: int) -> Tensor:
        """Draw ``n`` points of some observations' aggregate posterior, shape ``(n, L)``."""
        return torch.cat([z for z, _ in self.draws(self.rows(mask, n))])

    def summary(self, num_samples: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return means of q(z | x) and responsibilities: see `latents_and_components`."""
        return latents_and_components(self.model, self.guide, self.batches(), num_samples)

    @torch.no_grad()
    def points(self) -> Tensor:
        """Draw a point of the latent space for each observation, shape ``(N, L)``.

        Raises:
            NotInModelError: The model has no latent space.
        """
        self._n_latent()
        draws = (draw_latents(self.model, self.guide, batch, 1) for batch in self.batches())
        return torch.cat([each.values["z"][0] for each in draws])  # noqa: PD011 (a field of Draws)

    def batches(self) -> CountLoader:
        """Return the observations in batches, in order."""
        return CountLoader(self.counts, shuffle=False)

    def responsibilities(self, num_samples: int = 10) -> np.ndarray:
        """Return p(component | counts), shape ``(N, K)``.

        Raises:
            NotInModelError: The model is not a mixture.
        """
        shares = self.summary(num_samples)[1]
        if shares is None:
            raise NotInModelError(f"{self.model.title} has no components")
        return shares

    def one_count(self, weights: np.ndarray) -> np.ndarray:
        """Return the rate at which all weighted observations together expect one count.

        Data cannot tell a smaller rate from none, so log-fold changes add it to both sides.

        Args:
            weights: One an observation, shape ``(N,)``: a mask, for instance.

        Returns:
            That of each feature, shape ``(G,)``: of the table that it is in.
        """
        sizes = np.ones((len(self.counts), len(self.model.tables)))
        scales = self.model.library_sizes
        for number, name in enumerate(self.model.tables):
            totals = self.counts.libraries.get(name)
            if totals is not None:
                own = totals.double().cpu().numpy()
                known = np.ones_like(own) if name not in scales else np.nan_to_num(own)
                sizes[:, number] = np.where(np.isnan(own), 0.0, known)
        rates = 1 / np.maximum(weights @ sizes, 1)
        return np.repeat(rates, list(self.model.table_sizes.values()))

    def _n_latent(self) -> int:
        if self.model.n_latent is None:
            raise NotInModelError(f"{self.model.title} has no latent space")
        return self.model.n_latent


def _filled(library: Tensor, typical: Tensor | None) -> Tensor:
    """Library sizes with the geometric mean of those that are known in place of the others.

    Where none is known it is the typical one of training, if that is.
    """
    known = library[library > 0]  # NaN is not
    mean = known.log().mean().exp() if len(known) or typical is None else typical
    return torch.where(library.isnan(), mean.to(library), library)


def latent_names(n: int) -> pd.Index:
    """Return ``z0`` to ``z{n-1}``."""
    return pd.Index([f"z{i}" for i in range(n)], name="latent")
