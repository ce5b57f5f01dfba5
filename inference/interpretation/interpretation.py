"""Looking inside a trained pair: every question about it, as a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from vae4counts.data import DataError, classes_of, find_column
from vae4counts.inference.interpretation import (
    annotated_parts,
    components,
    conditional,
    directions,
    how_many,
    modalities,
    prediction,
    rates,
    topics,
)
from vae4counts.inference.interpretation.covariate_effects import (
    covariate_effects,
    covariate_errors,
)
from vae4counts.inference.interpretation.differential import (
    Mode,
    differential_expression,
    level_expression,
)
from vae4counts.inference.interpretation.feature_tree import feature_groups, feature_links
from vae4counts.inference.interpretation.observation_groups import (
    Mask,
    Values,
    aligned,
    group_mask,
    group_name,
    two_groups,
)
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.models.covariates import At

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def seeded(
    function: Callable[Concatenate[PairOnData, Arguments], Answer],
) -> Callable[Concatenate[Interpretation, Arguments], Answer]:
    """Make a method of a function of a pair on data: the same, with draws from the seed."""

    @wraps(function)
    def method(
        self: Interpretation, /, *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Answer:
        with self.own_seed():
            return function(self, *arguments, **options)

    return method


@dataclass(frozen=True, repr=False)
class Interpretation(PairOnData):
    """What a trained pair says about data: tables with names, from `Run.interpret`.

    Every method draws from the same seed, so that the same question has the same answer.

    Attributes:
        seed: Seed of the draws.
    """

    seed: int = 0

    denoised = seeded(rates.denoised)
    feature_correlation = seeded(rates.feature_correlation)
    latent_table = seeded(directions.latent_table)
    latent_effects = seeded(directions.latent_effects)
    traverse_latent = seeded(directions.traverse_latent)
    component_table = seeded(components.component_table)
    component_names = seeded(components.component_names)
    component_overlaps = seeded(components.component_overlaps)
    component_profiles = seeded(components.component_profiles)
    component_contrasts = seeded(components.component_contrasts)
    component_spreads = seeded(components.component_spreads)
    how_many_groups = seeded(how_many.how_many_groups)
    cooccurrence = seeded(components.cooccurrence)
    expected_given = seeded(conditional.expected_given)
    covariate_effects = seeded(covariate_effects)
    covariate_errors = seeded(covariate_errors)
    level_expression = seeded(level_expression)
    predict = seeded(prediction.predict)
    modality_table = seeded(modalities.modality_table)
    latent_shares = seeded(modalities.latent_shares)
    shared_axes = seeded(modalities.shared_axes)
    parts = seeded(annotated_parts.parts)
    topic_table = seeded(topics.topic_table)
    topic_features = seeded(topics.topic_features)
    feature_topics = seeded(topics.feature_topics)
    topic_weights = seeded(topics.topic_weights)
    topics = seeded(topics.topics)

    def feature_links(self) -> pd.DataFrame:
        """Return the links of the model's tree of features: see `feature_links`."""
        return feature_links(self.model, self.features)

    def feature_groups(self, largest: int = 6) -> pd.DataFrame:
        """Return the groups that the closest links hold together: see `feature_groups`."""
        return feature_groups(self.model, self.features, largest=largest)

    def holding(self, at: At | None) -> Interpretation:
        """Return the same look with covariates held at values: ``{"batch": "A", "percent": 5.0}``.

        Everything that asks the decoder then has these values: `denoised`, `component_profiles`,
        `differential_expression`, `expected_given` ... Covariates that are not named are averaged
        over the training observations, as all of them are by default.

        Args:
            at: The values by the covariates' names; None for none.

        Raises:
            DataError: The model has no such covariate or level.
        """
        self.model.covariates.held(at, self.counts.device)  # to find errors now
        return replace(self, at=at)

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
        """Find features whose rates differ between groups: see `differential_expression`.

        Args:
            groupby: A column of ``obs``.
            group1: A value of it, or a list of values; if None, each value in turn.
            group2: The same; None for all other observations.
            idx1: A boolean mask, instead of a column and values.
            idx2: The same; None for all other observations.
            mode: "change" or "vanilla".
            delta: Smallest log2 fold change that matters.
            fdr_target: Largest expected share of false discoveries.
            num_pairs: Number of pairs of observations.

        Returns:
            A row a feature (and comparison), with scvi-tools' names of columns.
        """
        firsts: list[Values | None] = [group1]
        if groupby is not None and group1 is None:
            firsts = sorted(classes_of(find_column(self.obs, groupby)).dropna().unique())
            firsts = [name for name in firsts if group2 is None or name != group_name(group2)]
            if not firsts:
                raise DataError(f"obs[{groupby!r}] has no values to compare")
        tables = []
        for name in firsts:
            one, other, *names = two_groups(self.obs, groupby, name, group2, idx1, idx2)
            with self.own_seed():
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
        """Return expected rates from one group to another: see `directions.traverse_groups`.

        Args:
            groupby: A column of ``obs``.
            start: A value of it, or a list of values.
            end: The same.
            steps: Number of points on the way.
            library_size: See `denoised`.
            num_points: Pairs over which the rates are averaged.
        """
        masks = [group_mask(self.obs, groupby, values) for values in (start, end)]
        with self.own_seed():
            along = directions.traverse_groups(
                self, *masks, steps=steps, library_size=library_size, num_points=num_points
            )
        return along.rename_axis(index=f"from {group_name(start)} to {group_name(end)}")

    def component_labels(
        self, labels: str | pd.Series | Sequence[str] | np.ndarray, *, num_samples: int = 10
    ) -> pd.DataFrame:
        """Count observations by label and most likely component: see `components.by_label`.

        Args:
            labels: A column of ``obs``, or a label for each observation.
            num_samples: Draws over which responsibilities are averaged.

        Raises:
            UnknownName: No such column.
            DataError: Not as many labels as observations.
        """
        known = find_column(self.obs, labels) if isinstance(labels, str) else labels
        with self.own_seed():
            return components.component_labels(
                self, aligned(self.obs, known, "labels"), num_samples=num_samples
            )

    @contextmanager
    def own_seed(self) -> Iterator[None]:
        """Draw from the seed, in evaluation mode, and leave the caller's random state as it is."""
        self.model.eval()
        self.guide.eval()
        with own_randomness(self.counts.device, self.seed):
            yield
