"""What a fit leaves: a trained pair, how it was made, and the ways to look at it."""

from __future__ import annotations

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
    Share,
    Split,
    counts_of,
    is_on_disk,
)
from vae4counts.guides import Guide
from vae4counts.inference.fitting.state import joined, part
from vae4counts.inference.interpretation import Interpretation, loadings
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.annotation import (
    WRITTEN,
    annotate,
    latents_and_components,
)
from vae4counts.inference.posterior.comparison import log_likelihoods
from vae4counts.inference.posterior.evaluation import Evaluation, evaluate
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks, Replicates, check
from vae4counts.inference.posterior.predictive_summary import PredictiveSummary, summarise
from vae4counts.inference.posterior.sampling import to_arviz
from vae4counts.inference.run import format as restoring
from vae4counts.inference.run import storage
from vae4counts.inference.run.alignment import align, fingerprint, labels_of
from vae4counts.models import Model
from vae4counts.models.config import description


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
        processes: Those that were fitted together and are still there, as under torchrun. They
            share the work of `evaluate` and `annotate`, which all of them have to call; each is
            then given the whole result.
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
        counts, rows, known = self._held_out(adata)
        with self._seeded(seed):
            result = evaluate(
                self.model,
                self.guide,
                self._in_order(counts, share=self.processes.share),
                num_samples=num_samples,
                labels=None if classes is None else classes[rows],
                processes=self.processes,
            )
        if known:
            sizes = {"n_train": len(self.split.train), "n_test": len(self.split.test)}
            self.metrics |= {**sizes, "n_features": len(self.features), **result.to_dict()}
        return result

    def annotate(
        self, adata: AnnData, *, denoised: bool = False, num_samples: int = 10, seed: int = 0
    ) -> None:
        """Writes what the pair says of each observation where scanpy looks for it.

        ``obsm["X_vae"]``: means of q(z | x). ``obs["component"]``, ``obs["component_entropy"]``
        (nats) and ``obsm["responsibilities"]``: the mixture's view. ``varm["loadings"]``: a linear
        decoder's. ``layers["denoised"]``: posterior mean rates, to a total of 10,000 (NaN for
        features that the model does not have). ``uns["vae4counts"]``: how the run was made.

        Args:
            adata: Observations, annotated in place; an earlier annotation is replaced.
            denoised: Whether to write the layer, a dense one of observations x features.
            num_samples: Draws of z over which responsibilities and rates are averaged.
            seed: Seed of the draws.

        Raises:
            DataError: A column of ``obs`` of these names that no earlier call wrote, or a view of
                data on disk, which only a copy of it all could be written to.
        """
        if adata.is_view and is_on_disk(adata, self.layer):
            raise DataError(
                "this is a view of data on disk, which nothing can be written to: "
                "annotate all of the data (features that the model does not know are passed over)"
            )
        view = self.interpret(adata, seed=seed)
        with self._seeded(seed):
            batches = self._in_order(view.counts, share=self.processes.share)
            summary = latents_and_components(
                self.model, self.guide, batches, num_samples, self.processes
            )
        table = loadings(self.model, self.features)
        layer = view.denoised(num_samples=num_samples) if denoised else None
        # nothing is written before all that can fail is done
        written = annotate(adata, *summary)
        if table is not None:
            adata.varm["loadings"] = table.reindex(adata.var_names).to_numpy()
            written.append("varm/loadings")
        if layer is not None:
            adata.layers["denoised"] = layer.reindex(columns=adata.var_names).to_numpy()
            written.append("layers/denoised")
        adata.uns[WRITTEN] = {
            "model": description(self.model),
            "settings": json.dumps(self.settings),
            "metrics": json.dumps(self.metrics),
            "written": written,
        }

    def posterior(
        self,
        adata: AnnData,
        num_samples: int = 100,
        sites: Sequence[str] | None = None,
        *,
        chunk_size: int = 128,
        seed: int = 0,
    ) -> Any:
        """Draws from posterior and prior for ArviZ, see `to_arviz`.

        Args:
            adata: Observations.
            num_samples: Number of draws.
            sites: Of ``z``, ``component``, ``library``, ``counts``; all but the counts if None.
            chunk_size: Observations that are worked on at once.
            seed: Seed of the draws.

        Raises:
            TooManyDrawsError: The draws would take over 4 GiB: see `predictive`.
            UnknownName: The model has no such site.
        """
        batches = self._in_order(self._counts(adata)[0], chunk_size)
        names = list(adata.obs_names), self.features
        with self._seeded(seed):
            return to_arviz(self.model, self.guide, batches, *names, num_samples, sites)

    def predictive(
        self,
        adata: AnnData,
        num_samples: int = 100,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        chunk_size: int = 128,
        seed: int = 0,
    ) -> PredictiveSummary:
        """Summarises posterior predictive counts by feature and by observation, keeping no draws.

        See `summarise`.
        """
        batches = self._in_order(self._counts(adata)[0], chunk_size)
        names = list(adata.obs_names), self.features
        with self._seeded(seed):
            return summarise(self.model, self.guide, batches, *names, num_samples, quantiles)

    def check(
        self,
        adata: AnnData,
        num_replicates: int = 200,
        *,
        replicates: Replicates = "model",
        seed: int = 0,
    ) -> PredictiveChecks:
        """Compares held-out observations with replicates of them that the model makes.

        Of the data that the run was fitted to, the test part; of any other data, all. See
        `vae4counts.inference.posterior.predictive_checks.check`.
        """
        batches = self._in_order(self._held_out(adata)[0])
        with self._seeded(seed):
            return check(self.model, self.guide, batches, self.features, num_replicates, replicates)

    def log_likelihoods(
        self, adata: AnnData, num_samples: int = 500, *, seed: int = 0
    ) -> pd.DataFrame:
        """Log-likelihoods in nats of held-out observations (as `check`), with their ``pareto_k``.

        See `vae4counts.inference.posterior.comparison.log_likelihoods`.
        """
        counts, rows, _ = self._held_out(adata)
        with self._seeded(seed):
            value, k = log_likelihoods(self.model, self.guide, self._in_order(counts), num_samples)
        columns = {"log_likelihood": value, "pareto_k": k}
        return pd.DataFrame(columns, index=adata.obs_names[rows])

    def report(
        self, adata: AnnData, path: str | Path, *, label: str | None = None, seed: int = 0
    ) -> None:
        """Writes a page of HTML that shows the run and its view of data, see `write_report`.

        Args:
            adata: Observations: the fitted data, or others.
            path: The file to write; one that is there is replaced.
            label: Column of ``obs`` with known classes; the fit's own if None.
            seed: Seed of all draws.
        """
        from vae4counts.inference.report import write_report  # slow to import

        write_report(self, adata, Path(path), label=label, seed=seed)

    def interpret(self, adata: AnnData, *, seed: int = 0) -> Interpretation:
        """An object whose methods look inside: rates, differential expression, components ...

        Args:
            adata: Observations.
            seed: Seed of all draws.
        """
        counts = self._counts(adata)[0].to(self.device)
        return Interpretation(self.model, self.guide, counts, self.features, adata.obs, seed)

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
            "format": restoring.FORMAT,
            "model": self.model.config(),
            "guide": self.guide.config(),
            "features": self.features,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "label": self.label,
            "settings": self.settings,
        }
        split = {name: torch.as_tensor(rows) for name, rows in asdict(self.split).items()}
        parts = {"model": self.model.state_dict(), "guide": self.guide.state_dict(), "split": split}
        state = {name: value.cpu().contiguous() for name, value in joined(parts).items()}
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
        with storage.reading(directory / storage.CONFIG):
            config = restoring.up_to_date(config)
            described = restoring.described(config)
            shapes = restoring.shapes(config)
        with storage.reading(directory / storage.WEIGHTS):
            state = load_file(directory / storage.WEIGHTS)
            restoring.check_state(state, shapes)
            model, guide = restoring.make_pair(config)
            model.load_state_dict(part(state, "model"))
            guide.load_state_dict(part(state, "guide"))
            split = Split(**{name: rows.numpy() for name, rows in part(state, "split").items()})
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
        aligned = align(adata, self.features)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            counts = counts_of(aligned, layer=self.layer)
        known = fingerprint(adata.obs_names, counts) == self.fingerprint
        if not known:  # the fit has said of its own data what there is to say
            for warning in said:
                warnings.warn(warning.message, warning.category, stacklevel=3)
        return counts, known

    def _held_out(self, adata: AnnData) -> tuple[Counts, np.ndarray, bool]:
        """Observations that training has not seen, where they are, and if the data are the fit's.

        Of the fitted data, the test part; of any other data, all.
        """
        counts, known = self._counts(adata)
        if known:
            return counts.subset(self.split.test), self.split.test, True
        return counts, np.arange(adata.n_obs), False

    def _in_order(
        self,
        counts: Counts,
        chunk_size: int = 128,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> CountLoader:
        """Observations in their order, on the model's device."""
        place = counts.to(self.device)
        return CountLoader(place, batch_size=chunk_size, shuffle=False, share=share)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draws from a seed of their own, in evaluation mode; the caller's are not touched."""
        self.model.eval()
        self.guide.eval()
        with own_randomness(self.device, seed), fast_products():
            yield
