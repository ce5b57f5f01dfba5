"""What a report is about, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from vae4counts.data import DataError
from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks
from vae4counts.inference.posterior.tables import count_tables, feature_columns
from vae4counts.inference.report.colour_by import coloured_by
from vae4counts.inference.run.colours import (
    colours_of_classes,
    colours_of_components,
    known_classes,
)
from vae4counts.inference.run.fitted_pair import FittedPair
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.models.covariates import At

# Replicates of the data for predictive checks.
REPLICATES = 100


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        body: Elements of HTML, one after the other (see `elements`).
    """

    title: str
    body: list[Markup]


@dataclass(frozen=True)
class Subject:
    """A run on the data to show it on; what several sections need is computed once.

    Attributes:
        on: The run on data.
        at: Values at which covariates are held.
        colour_by: Columns of ``obs`` and features that the map is coloured by as well.
    """

    on: RunOnData
    at: At | None = None
    colour_by: Sequence[str] = ()

    @property
    def run(self) -> FittedPair:
        """The run."""
        return self.on.run

    @property
    def title(self) -> str:
        """The title of the page: the model, and the data if they have a name."""
        source = self.run.settings.get("data") if self.on.is_fitted else None
        name = "data" if source is None else Path(source).name
        return f"{type(self.run.model).__name__} on {name}"

    @property
    def view(self) -> Interpretation:
        """The run's view of the data."""
        return self.on.interpretation.holding(self.at)

    def by_table(self, features: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return a table of the model's features in parts, by the modality that they are of."""
        model = self.run.model
        return {name: features.iloc[feature_columns(model, name)] for name in model.tables}

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What was measured: by the fit on its own data and label, otherwise now."""
        is_known = self.on.is_fitted and self.on.label == self.run.label
        if is_known and "elbo" in self.run.metrics:
            return self.run.metrics
        measured = self.on.evaluate().to_dict()
        return self.run.metrics | measured

    @cached_property
    def classes(self) -> pd.Series | None:
        """The known class of each observation, categories in the order of all pictures.

        That of their main components, so that a table of both is close to a diagonal; in a model
        without components, the column's own.
        """
        self.on.classes  # noqa: B018 (a label that the data lack is an error)
        known = known_classes(self.on)
        if known is None or self.components is None:
            return known
        present = by_label(known, self.components).index
        return known.cat.set_categories([*present, *known.cat.categories.difference(present)])

    @cached_property
    def components(self) -> pd.Series | None:
        """The most likely component of each observation; None for a model without."""
        _, shares = self.on.summary()
        return None if shares is None else pd.Series(assigned(shares), name="component")

    @cached_property
    def class_colours(self) -> dict[str, str]:
        """The colour of each class."""
        return colours_of_classes(self.on)

    @cached_property
    def component_colours(self) -> dict[str, str]:
        """The colour of each component that observations have."""
        if self.components is None:
            return {}
        return colours_of_components(self.on, self.components.array)

    @cached_property
    def checks(self) -> dict[str, PredictiveChecks]:
        """Predictive checks of each table of counts that evaluated observations have."""
        found = {}
        for name in count_tables(self.run.model):
            with suppress(DataError):  # no evaluated observation has it
                found[name] = self.on.check(REPLICATES, table=name)
        return found

    @cached_property
    def further_colourings(self) -> list[tuple[pd.Series, dict[str, str]]]:
        """Columns and features that the map is coloured by as well, with their colours."""
        return [coloured_by(self.on, name) for name in self.colour_by]

    @property
    def colourings(self) -> list[tuple[pd.Series, dict[str, str]]]:
        """Known classes and components, of what there is, with their colours."""
        found = [(self.classes, self.class_colours), (self.components, self.component_colours)]
        return [(classes, colours) for classes, colours in found if classes is not None]

    @cached_property
    def component_table(self) -> pd.DataFrame:
        """Weight and size of each component, see `Interpretation.component_table`."""
        return self.view.component_table()

    @property
    def latents(self) -> np.ndarray | None:
        """Posterior means, shape ``(N, L)``; None for a model without latents."""
        return self.on.summary()[0]
