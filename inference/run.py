"""What a fit leaves: a trained pair, how it was made, and the ways to look at it."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from safetensors.torch import load_file, save_file

from vae4counts.data import (
    CountLoader,
    Counts,
    DataError,
    Split,
    UnknownName,
    counts_of,
    is_on_disk,
)
from vae4counts.guides import Guide
from vae4counts.inference import storage
from vae4counts.inference.posterior.annotation import annotate
from vae4counts.inference.posterior.evaluation import Evaluation, evaluate
from vae4counts.inference.posterior.loadings import loadings
from vae4counts.inference.posterior.sampling import to_arviz
from vae4counts.inference.randomness import own_randomness
from vae4counts.models import CountModel, from_config

FORMAT = 1


@dataclass
class Run:
    """A trained model/guide pair.

    Attributes:
        model: The model.
        guide: Its guide.
        features: Names of the features, in the model's order.
        split: Which observations of the fitted data were for what.
        fingerprint: A digest of the fitted data's names and total counts, by which they are
            known again.
        layer: The layer that held the counts; None for ``X``.
        label: The column of ``obs`` that holds known classes; None for none.
        settings: The arguments of the fit, JSON values.
        history: A row an epoch.
        metrics: What was measured; filled by `evaluate` on held-out observations.
    """

    model: CountModel
    guide: Guide
    features: list[str]
    split: Split
    fingerprint: str
    layer: str | None
    label: str | None
    settings: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    def evaluate(
        self, adata: AnnData, *, label: str | None = None, num_samples: int = 100, seed: int = 0
    ) -> Evaluation:
        """Measures how well the pair explains data.

        Args:
            adata: Observations. Of the data that the run was fitted to, in their order, only
                the test part counts; of any other data, all.
            label: Column of ``obs`` with known classes; the fit's own if None.
            num_samples: Number of draws for each observation.
            seed: Seed of the draws.

        Returns:
            Means per observation, in nats. For the fitted data they also go into `metrics`.

        Raises:
            DataError: Values that are no counts, or missing features.
            UnknownName: No such column.
        """
        classes = labels_of(adata, self.label if label is None else label)
        counts, known = self._counts(adata)
        rows = self.split.test if known else np.arange(adata.n_obs)
        with self._seeded(seed):
            result = evaluate(
                self.model,
                self.guide,
                self._in_order(counts.subset(rows) if known else counts),
                num_samples=num_samples,
                labels=None if classes is None else classes[rows],
            )
        if known:
            sizes = {"n_train": len(self.split.train), "n_test": len(self.split.test)}
            self.metrics |= {**sizes, "n_features": len(self.features), **result.to_dict()}
        return result

    def annotate(self, adata: AnnData, *, num_samples: int = 10, seed: int = 0) -> None:
        """Writes what the pair says of each observation where scanpy looks for it.

        ``obsm["X_vae"]``: means of q(z | x). ``obs["component"]``, ``obs["component_entropy"]``
        (nats) and ``obsm["responsibilities"]``: the mixture's view. ``varm["loadings"]``: a linear
        decoder's. ``uns["vae4counts"]``: how the run was made.

        Args:
            adata: Observations, annotated in place.
            num_samples: Draws of z over which responsibilities are averaged.
            seed: Seed of the draws.

        Raises:
            DataError: A view of data on disk, which only a copy of it all could be written to.
        """
        if adata.is_view and is_on_disk(adata, self.layer):
            raise DataError(
                "this is a view of data on disk, which nothing can be written to: "
                "annotate all of the data (features that the model does not know are passed over)"
            )
        with self._seeded(seed):
            annotate(
                adata, self.model, self.guide, self._in_order(self._counts(adata)[0]), num_samples
            )
        table = loadings(self.model, self.features)
        if table is not None:
            adata.varm["loadings"] = table.reindex(adata.var_names).to_numpy()
        adata.uns["vae4counts"] = {
            "model": _description(self.model),
            "settings": json.dumps(self.settings),
            "metrics": json.dumps(self.metrics),
        }

    def posterior(self, adata: AnnData, *, num_samples: int = 100, seed: int = 0) -> Any:
        """Draws from the posterior, for ArviZ.

        Args:
            adata: Observations.
            num_samples: Number of draws.
            seed: Seed of the draws.

        Returns:
            ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x) with the
            groups ``posterior`` (``z``, ``component``, ``library``) and ``log_likelihood``, and
            the dimensions ``chain``, ``draw``, ``obs``, ``latent``.
        """
        with self._seeded(seed):
            return to_arviz(
                self.model,
                self.guide,
                self._in_order(self._counts(adata)[0]),
                list(adata.obs_names),
                num_samples,
            )

    def loadings(self) -> pd.DataFrame | None:
        """A linear decoder's loadings, features x latents; None for other decoders."""
        return loadings(self.model, self.features)

    def knows(self, adata: AnnData) -> bool:
        """Whether these are the observations that the run was fitted to, in their order."""
        return self._counts(adata)[1]

    def save(self, directory: str | Path) -> None:
        """Writes the run to a new directory, whole or not at all.

        Raises:
            RunDirectoryError: The directory is there already, and not empty.
        """
        with storage.new_directory(Path(directory)) as staging:
            self.write(staging)

    def write(self, directory: Path) -> None:
        """Writes the run's files into a directory that is there."""
        config = {
            "format": FORMAT,
            "model": self.model.config(),
            "guide": self.guide.config(),
            "features": self.features,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "label": self.label,
            "settings": self.settings,
        }
        state = {
            f"{part}.{name}": value.detach().cpu().contiguous()
            for part, module in (("model", self.model), ("guide", self.guide))
            for name, value in module.state_dict().items()
        }
        state |= {
            f"split.{name}": torch.as_tensor(rows) for name, rows in asdict(self.split).items()
        }
        save_file(state, directory / storage.WEIGHTS)
        storage.write_json(directory / storage.CONFIG, config)
        storage.write_json(directory / storage.METRICS, self.metrics)
        self.history.to_csv(directory / storage.HISTORY, index=False)

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "cpu") -> Run:
        """Reads a run that `save` wrote. Nothing in it is unpickled or evaluated.

        Args:
            directory: The run's directory.
            device: Where to put the parameters.

        Raises:
            RunDirectoryError: A file is missing, broken, or of a newer version.
        """
        directory = Path(directory)
        config = storage.read_json(directory / storage.CONFIG)
        if config.get("format") != FORMAT:
            raise storage.RunDirectoryError(
                f"{directory / storage.CONFIG}: format {config.get('format')!r} is not {FORMAT}, "
                "the one that this version of vae4counts reads"
            )
        with storage.reading(directory / storage.CONFIG):
            model, guide = from_config(config["model"]), from_config(config["guide"])
            if not isinstance(model, CountModel) or not isinstance(guide, Guide):
                raise TypeError("it describes no pair of a model and a guide")
            guide.attach(model)
            names = ("features", "fingerprint", "layer", "label", "settings")
            described = {name: config[name] for name in names}
        with storage.reading(directory / storage.WEIGHTS):
            state = load_file(directory / storage.WEIGHTS)
            model.load_state_dict(_part(state, "model"))
            guide.load_state_dict(_part(state, "guide"))
            split = Split(**{name: rows.numpy() for name, rows in _part(state, "split").items()})
        with storage.reading(directory / storage.HISTORY):
            # pandas' default rounds the last digit
            history = pd.read_csv(directory / storage.HISTORY, float_precision="round_trip")
        return cls(
            model=model.to(device).eval(),
            guide=guide.to(device).eval(),
            split=split,
            history=history,
            metrics=storage.read_json(directory / storage.METRICS),
            **described,
        )

    def _counts(self, adata: AnnData) -> tuple[Counts, bool]:
        """The counts of the model's features, and whether they are those of the fit."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            counts = counts_of(align(adata, self.features), layer=self.layer)
        known = fingerprint(adata.obs_names, counts) == self.fingerprint
        if not known:  # the fit has said of its own data what there is to say
            for warning in said:
                warnings.warn(warning.message, warning.category, stacklevel=3)
        return counts, known

    def _in_order(self, counts: Counts) -> CountLoader:
        """Observations in their order, on the model's device."""
        return CountLoader(counts.to(self.device), batch_size=128, shuffle=False)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draws from a seed of their own, in evaluation mode; the caller's are not touched."""
        self.model.eval()
        self.guide.eval()
        with own_randomness(self.device, seed):
            yield


def fingerprint(names: pd.Index, counts: Counts) -> str:
    """A digest of the observations' names and total counts, in order."""
    digest = hashlib.sha256("\n".join(map(str, names)).encode())
    digest.update(counts.library.cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def labels_of(adata: AnnData, label: str | None) -> np.ndarray | None:
    """The known classes of the observations, as strings; None without a label.

    Raises:
        UnknownName: No such column; those that exist are listed.
    """
    if label is None:
        return None
    if label not in adata.obs:
        raise UnknownName("label column", label, list(adata.obs.columns))
    return adata.obs[label].astype(str).to_numpy()


def align(adata: AnnData, features: Sequence[str]) -> AnnData:
    """The data with the model's features in the model's order.

    Raises:
        DataError: A feature of the model is missing.
    """
    if list(adata.var_names) == list(features):
        return adata
    missing = pd.Index(features).difference(adata.var_names)
    if len(missing):
        raise DataError(
            f"{len(missing)} of the model's {len(features)} features are missing from the data, "
            f"{missing[0]!r} for one: name the features as in the data that the model was fitted to"
        )
    return adata[:, list(features)]


def _description(model: CountModel) -> str:
    """The model as JSON, or as Python prints it where a part of it knows no description."""
    try:
        return json.dumps(model.config())
    except TypeError:
        return repr(model)


def _part(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
