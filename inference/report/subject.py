"""What a report is about, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.posterior.tables import feature_columns
from vae4counts.inference.run.fitted_pair import FittedPair
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.models.covariates import At


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
    """

    on: RunOnData
    at: At | None = None

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
        """The known class of each observation, as text."""
        known = self.on.classes
        return None if known is None else pd.Series(known, name=self.on.label)

    @cached_property
    def components(self) -> pd.Series | None:
        """The most likely component of each observation; None for a model without."""
        _, shares = self.on.summary()
        return None if shares is None else pd.Series(assigned(shares), name="component")

    @cached_property
    def component_table(self) -> pd.DataFrame:
        """Weight and size of each component, see `Interpretation.component_table`."""
        return self.view.component_table()

    @property
    def latents(self) -> np.ndarray | None:
        """Posterior means, shape ``(N, L)``; None for a model without latents."""
        return self.on.summary()[0]
