"""What a fit leaves: a trained pair, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from operator import methodcaller
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch import nn

from vae4counts.data import Counts, Split, Tables, UnknownName
from vae4counts.guides import Guide
from vae4counts.inference.interpretation import loadings
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.posterior.facts import as_html, as_text
from vae4counts.models import Model
from vae4counts.models.config import description
from vae4counts.models.covariates import joined_columns


class AsFitted(Enum):
    """Stands for the layer, label or modalities of the fit, where None stands for none."""

    AS_FITTED = "as fitted"


AS_FITTED: Final = AsFitted.AS_FITTED


def pair_of(model: Model, guide: Guide) -> nn.ModuleDict:
    """Return a module that holds both; the names of its state are those of a run's weights."""
    return nn.ModuleDict({"model": model, "guide": guide})


def widths_of(counts: Counts) -> dict[str, int] | None:
    """Return the number of features of each table; None for the counts of one AnnData."""
    if not isinstance(counts, Tables):
        return None
    return {name: member.n_features for name, member in counts.members.items()}


def is_trainable(model: Model, guide: Guide) -> bool:
    """Whether a pair has parameters to train by steps, beside what `Model.learn` finds."""
    return any(parameter.requires_grad for parameter in pair_of(model, guide).parameters())


@dataclass(repr=False)
class FittedPair:
    """A trained model/guide pair and its record; `Run` adds the questions to it.

    Attributes:
        model: The model.
        guide: Its guide.
        features: Names of the features, in the model's order.
        split: Which observations of the fitted data were for training, validation and test.
        fingerprint: A digest of the fitted data's names and counts, by which they are recognised.
        layer: The layer that held the counts; None for ``X``.
        label: The column of ``obs`` that holds known classes; None for none.
        settings: The arguments of the fit, JSON values.
        history: A row an epoch.
        metrics: What was measured; filled by `Run.evaluate` on held-out observations.
        processes: The processes that fitted the pair together and still run, as under torchrun.
            They share the work of `Run.evaluate` and `Run.annotate`: all of them have to call
            these, and each gets the whole result.
        modalities: Where each table was in the data, see `modalities_of`; None if nothing was said.
        widths: The number of features of each table, in order; None for the only table.
    """

    model: Model
    guide: Guide
    features: list[str]
    split: Split
    fingerprint: str
    layer: str | None
    label: str | None
    settings: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any] = field(default_factory=dict)
    processes: Processes = field(default=Processes(), repr=False)
    modalities: dict[str, str] | None = None
    widths: dict[str, int] | None = None

    def __repr__(self) -> str:
        return as_text(type(self).__name__, self._facts)

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self._facts)

    @property
    def _facts(self) -> dict[str, str]:
        """What was fitted to what, how that went, and what is known of held-out observations."""
        sizes = {name: len(rows) for name, rows in asdict(self.split).items()}
        parts = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
        size = f"{sum(sizes.values()):,} observations x {len(self.features):,} features"
        return {
            "model": self.model.title,
            "guide": type(self.guide).__name__,
            "data": f"{size} ({parts})",
            "training": f"{len(self.history):,} epochs{self._validated}",
            "held out": self._held_out,
        }

    @property
    def _validated(self) -> str:
        kept = self.metrics.get("epoch_kept")  # which runs of older versions lack
        if kept is None:
            return ""
        elbo = self.history.validation_elbo.iloc[kept - 1]
        return f", of which epoch {kept} was kept: validation ELBO {elbo:.2f} nats"

    @property
    def _held_out(self) -> str:
        exact, elbo = (self.metrics.get(name) for name in ("log_likelihood", "elbo"))
        if exact is not None:
            return f"log-likelihood {exact:.2f} nats"
        return "not evaluated yet" if elbo is None else f"ELBO {elbo:.2f} nats"

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    @property
    def sizes(self) -> dict[str, int]:
        """How many observations and features the pair was fitted to and measured on."""
        parts = {"n_train": len(self.split.train), "n_test": len(self.split.test)}
        return parts | {"n_features": len(self.features)}

    @property
    def table_features(self) -> dict[str, list[str]]:
        """Names of the features by table, as they are in `features`."""
        if self.widths is None:
            return {self.model.tables[0]: self.features}
        stops = np.cumsum(list(self.widths.values()))
        parts = zip(self.widths, [0, *stops], stops, strict=False)
        return {table: self.features[start:stop] for table, start, stop in parts}

    @property
    def covariate_columns(self) -> dict[str, list[str] | None]:
        """The columns of ``obs`` that model and guide read, see `Covariates.columns`."""
        return joined_columns(self.model.covariates, self.guide.covariates)

    def ignored_labels(self, column: str | None) -> list[str]:
        """Return the values of a label column that are no class."""
        labels = self.model.labels
        own = [] if labels is None or labels.column != column else labels.ignored
        return [*self.settings.get("ignore_label", ()), *own]

    @property
    def about(self) -> dict[str, str]:
        """The model, the settings and the metrics as JSON, for data that the pair annotates."""
        plain = methodcaller("tolist")  # of NumPy's numbers
        return {
            "model": description(self.model),
            "settings": json.dumps(self.settings, default=plain),
            "metrics": json.dumps(self.metrics, default=plain),
        }

    def loadings(self) -> pd.DataFrame | None:
        """Return a linear decoder's loadings, features x latents; None for other decoders."""
        return loadings(self.model, self.features)


@contextmanager
def fitted_with(what: str, name: str | None, fitted: str | None) -> Iterator[None]:
    """Say what to do where data lack the layer or the label that a run was fitted with."""
    try:
        yield
    except UnknownName as error:
        kind, unknown, known, _ = error.args
        if unknown != fitted or name != fitted:
            raise
        instead = "X" if what == "layer" else "none"
        advice = (
            f"The run was fitted with it: name another with {what}=... (--{what}), or take "
            f"{instead} with {what}=None (--no-{what})."
        )
        raise UnknownName(kind, unknown, known, advice) from error
