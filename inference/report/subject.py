"""What a report is about, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from markupsafe import Markup

from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.run.alignment import labels_of
from vae4counts.inference.run.run import Run


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
    """A run and the data to show it on; what several sections need is computed once.

    Attributes:
        run: The run.
        adata: Observations.
        label: Column of ``obs`` with known classes; None for none.
        seed: Seed of all draws.
    """

    run: Run
    adata: AnnData
    label: str | None
    seed: int

    @property
    def title(self) -> str:
        """What the page is called: the model, and the data as far as they have a name."""
        source = self.run.settings.get("data") if self.known else None
        name = "data" if source is None else Path(source).name
        return f"{type(self.run.model).__name__} on {name}"

    @cached_property
    def known(self) -> bool:
        """Whether these are the data that the run was fitted to."""
        return self.run.knows(self.adata)

    @cached_property
    def view(self) -> Interpretation:
        """The run's view of the data."""
        return self.run.interpret(self.adata, seed=self.seed)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What is measured: the run's own on its own data, where it has been evaluated."""
        if self.known and "elbo" in self.run.metrics and self.label == self.run.label:
            return self.run.metrics
        measured = self.run.evaluate(self.adata, label=self.label, seed=self.seed).to_dict()
        return self.run.metrics | measured

    @cached_property
    def classes(self) -> pd.Series | None:
        """The known class of each observation, as text."""
        known = labels_of(self.adata, self.label)
        return None if known is None else pd.Series(known, name=self.label)

    @cached_property
    def components(self) -> pd.Series | None:
        """The most likely component of each observation; None for a model without."""
        shares = self._summary[1]
        return None if shares is None else pd.Series(assigned(shares), name="component")

    @cached_property
    def component_table(self) -> pd.DataFrame:
        """Weight and size of each component, see `Interpretation.component_table`."""
        return self.view.component_table()

    @property
    def latents(self) -> np.ndarray | None:
        """Posterior means, shape ``(N, L)``; None for a model without latents."""
        return self._summary[0]

    @cached_property
    def _summary(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        with own_randomness(self.run.device, self.seed):
            return self.view.summary(num_samples=10)
