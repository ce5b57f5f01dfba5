"""Looking inside a fitted pair: every question to it, as a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vae4counts.data.counts.columns import find_column
from vae4counts.inference.interpretation import components, directions, rates
from vae4counts.inference.interpretation.conditional import expected_given
from vae4counts.inference.interpretation.differential import Mode, differential_expression
from vae4counts.inference.interpretation.fitted import Fitted
from vae4counts.inference.interpretation.observation_groups import (
    Mask,
    Values,
    aligned,
    group_mask,
    group_name,
    two_groups,
)
from vae4counts.inference.parallel.randomness import own_randomness


@dataclass(frozen=True, repr=False)
class Interpretation(Fitted):
    """What a trained pair has to say of data: tables with names, from `Run.interpret`.

    Every method draws from the same seed, so that the same question has the same answer, and
    hands over to the function of that name, which tells what is computed and how.

    Attributes:
        seed: Seed of the draws.
    """

    seed: int = 0

    def denoised(
        self,
        features: Sequence[str] | None = None,
        *,
        library_size: float | None = 1e4,
        num_samples: int = 10,
    ) -> pd.DataFrame:
        """Posterior mean rates, observations x features. See `rates.denoised`."""
        with self._seeded():
            return rates.denoised(
                self, features, library_size=library_size, num_samples=num_samples
            )

    def feature_correlation(
        self, features: Sequence[str] | None = None, *, num_samples: int = 10
    ) -> pd.DataFrame:
        """Correlations of log-rates, features x features. See `rates.feature_correlation`."""
        with self._seeded():
            return rates.feature_correlation(self, features, num_samples=num_samples)

    def differential_expression(
        self,
        groupby: str | None = None,
        group1: Values | None = None,
        group2: Values | None = None,
        *,
        idx1: Mask | None = None,
        idx2: Mask | None = None,
        mode: Mode = "change",
        delta: float = 0.5,
        fdr_target: float = 0.05,
        num_pairs: int = 5000,
    ) -> pd.DataFrame:
        """Features whose rates differ between groups. See `differential_expression`.

        Args:
            groupby: A column of ``obs``.
            group1: A value of it, or a list of values; if None, each value in turn.
            group2: The same; None for all other observations.
            idx1: A boolean mask, instead of a column and values.
            idx2: The same; None for all other observations.
            mode: "change" or "vanilla".
            delta: Smallest log2 fold change worth a mention.
            fdr_target: Largest expected share of false discoveries.
            num_pairs: Number of pairs of observations.

        Returns:
            A row a feature (and comparison), with scvi-tools' names of columns.
        """
        firsts: list[Values | None] = [group1]
        if groupby is not None and group1 is None:
            firsts = sorted(find_column(self.obs, groupby).dropna().astype(str).unique())
            firsts = [name for name in firsts if name != group2]
        tables = []
        for name in firsts:
            one, other, *names = two_groups(self.obs, groupby, name, group2, idx1, idx2)
            with self._seeded():
                table = differential_expression(
                    self,
                    one,
                    other,
                    mode=mode,
                    delta=delta,
                    fdr_target=fdr_target,
                    num_pairs=num_pairs,
                )
            table["comparison"] = f"{names[0]} vs {names[1]}"
            table["group1"], table["group2"] = names
            tables.append(table)
        return pd.concat(tables)

    def latent_table(self, *, num_samples: int = 10) -> pd.DataFrame:
        """Spread of each latent. See `directions.latent_table`."""
        with self._seeded():
            return directions.latent_table(self, num_samples=num_samples)

    def latent_effects(self, *, num_points: int = 500) -> pd.DataFrame:
        """What each latent does, features x latents. See `directions.latent_effects`."""
        with self._seeded():
            return directions.latent_effects(self, num_points=num_points)

    def traverse_latent(
        self,
        latent: int | str,
        *,
        span: float = 2.0,
        steps: int = 9,
        library_size: float = 1e4,
        num_points: int = 200,
    ) -> pd.DataFrame:
        """Expected rates along a latent, steps x features. See `directions.traverse_latent`."""
        with self._seeded():
            return directions.traverse_latent(
                self,
                latent,
                span=span,
                steps=steps,
                library_size=library_size,
                num_points=num_points,
            )

    def traverse_groups(
        self,
        groupby: str,
        start: Values,
        end: Values,
        *,
        steps: int = 9,
        library_size: float = 1e4,
        num_points: int = 200,
    ) -> pd.DataFrame:
        """Expected rates from a group to another. See `directions.traverse_groups`."""
        masks = [group_mask(self.obs, groupby, values) for values in (start, end)]
        with self._seeded():
            along = directions.traverse_groups(
                self, *masks, steps=steps, library_size=library_size, num_points=num_points
            )
        return along.rename_axis(index=f"from {group_name(start)} to {group_name(end)}")

    def component_table(self, *, num_samples: int = 10) -> pd.DataFrame:
        """Weights and sizes of the components. See `components.component_table`."""
        with self._seeded():
            return components.component_table(self, num_samples=num_samples)

    def component_overlaps(self) -> pd.DataFrame:
        """Overlap of each two components. See `components.component_overlaps`."""
        with self._seeded():
            return components.component_overlaps(self)

    def component_labels(
        self, labels: str | pd.Series | Sequence[str] | np.ndarray, *, num_samples: int = 10
    ) -> pd.DataFrame:
        """Observations by label and component; labels may be a column. See `components.by_label`.

        Raises:
            UnknownName: No such column.
            DataError: Not as many labels as observations.
        """
        known = find_column(self.obs, labels) if isinstance(labels, str) else labels
        with self._seeded():
            return components.component_labels(
                self, aligned(self.obs, known, "labels"), num_samples=num_samples
            )

    def component_profiles(
        self, *, library_size: float = 1e4, num_samples: int = 256
    ) -> pd.DataFrame:
        """Expected counts, features x components. See `components.component_profiles`."""
        with self._seeded():
            return components.component_profiles(
                self, library_size=library_size, num_samples=num_samples
            )

    def component_contrasts(self, *, num_samples: int = 256) -> pd.DataFrame:
        """Log2 fold changes, features x components. See `components.component_contrasts`."""
        with self._seeded():
            return components.component_contrasts(self, num_samples=num_samples)

    def cooccurrence(
        self,
        component: int | str,
        features: list[str] | None = None,
        *,
        n: int = 12,
        num_samples: int = 4096,
    ) -> pd.DataFrame:
        """Lift of pairs of features in a component. See `components.cooccurrence`."""
        with self._seeded():
            return components.cooccurrence(self, component, features, n=n, num_samples=num_samples)

    def expected_given(
        self, given: Mapping[str, int] | Sequence[str], *, num_samples: int = 20_000
    ) -> pd.DataFrame:
        """What else is there, given some counts. See `conditional.expected_given`."""
        with self._seeded():
            return expected_given(self, given, num_samples=num_samples)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        self.model.eval()
        self.guide.eval()
        with own_randomness(self.counts.device, self.seed):
            yield
