"""The result of a fit: a trained pair, how it was made, and the questions that it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from anndata import AnnData
from safetensors.torch import load_file, save

from vae4counts.data import Data, DataError, MultiData, Split, is_multi
from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.parallel.device import device_of
from vae4counts.inference.posterior.evaluation import Evaluation
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks, Replicates
from vae4counts.inference.posterior.predictive_summary import PredictiveSummary
from vae4counts.inference.run import format as run_format
from vae4counts.inference.run import storage
from vae4counts.inference.run.chains import Method
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted, FittedPair, pair_of
from vae4counts.inference.run.migrations import renamed_weights
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.models.covariates import At

if TYPE_CHECKING:
    from vae4counts.inference.fitting.logger import Logger
    from vae4counts.inference.fitting.options import SplitOptions

REPORT = "vae4counts.inference.report.page:write_report"
"""What writes a report: it stands above runs, which know it by name as `READERS` know readers."""
ADAPT = "vae4counts.inference.fitting.adapt:adapt"
"""What adapts a run, likewise."""
NEXT = "run.evaluate(adata), .annotate, .check, .interpret, .report; run.save(directory)"


class Run(FittedPair):
    """A trained model/guide pair: what a fit returns. Its attributes are those of `FittedPair`."""

    @property
    def _facts(self) -> dict[str, str]:
        return super()._facts | {"next": NEXT}

    def on(
        self,
        adata: Data,
        *,
        label: str | AsFitted | None = AS_FITTED,
        layer: str | AsFitted | None = AS_FITTED,
        modalities: Mapping[str, str] | AsFitted | None = AS_FITTED,
        seed: int = 0,
    ) -> RunOnData:
        """Read and check data once, to ask several things about them.

        Args:
            adata: Observations: the data that the run was fitted to, in their order, or others; in
                any form that `to_modalities` takes. They may lack modalities, all or some of them.
            label: Column of ``obs`` with known classes; None for none; by default the fit's own.
            layer: Layer that holds the counts; None for ``X``; by default the fit's own.
            modalities: Where each table of the model is, see `modalities_of`; by default as in the
                fit.
            seed: Seed of all draws.

        Raises:
            DataError: The values are not counts, or over a fifth of the model's features are
                missing.
            UnknownName: The data have no such layer.

        Warns:
            UserWarning: A few of the model's features are missing, or they are in another order;
                or what reading finds odd about data that the run was not fitted to.
        """
        return RunOnData.of(self, adata, label, seed, layer, modalities)

    def evaluate(
        self,
        adata: Data,
        *,
        label: str | AsFitted | None = AS_FITTED,
        layer: str | AsFitted | None = AS_FITTED,
        num_samples: int = 100,
        refine: bool = False,
        batch: str | None = None,
        leave_one_out: bool | None = None,
        seed: int = 0,
    ) -> Evaluation:
        """Measure how well the pair explains data: see `on` and `RunOnData.evaluate`."""
        on = self.on(adata, label=label, layer=layer, seed=seed)
        return on.evaluate(num_samples, refine=refine, batch=batch, leave_one_out=leave_one_out)

    def annotate(
        self,
        adata: AnnData | MultiData,
        *,
        layer: str | AsFitted | None = AS_FITTED,
        denoised: bool = False,
        num_samples: int = 10,
        refine: bool = False,
        layout: bool = False,
        seed: int = 0,
    ) -> None:
        """Write what the pair says of data into them: see `on` and `annotate_data`."""
        if not (isinstance(adata, AnnData) or is_multi(adata)):
            kind = type(adata).__name__
            raise DataError(f"results are written into an AnnData or a MuData, not a {kind}")
        on = self.on(adata, layer=layer, seed=seed)
        on.annotate(denoised, num_samples, refine=refine, layout=layout)

    def posterior(
        self,
        adata: Data,
        num_samples: int | None = None,
        sites: Sequence[str] | None = None,
        *,
        method: Method = "guide",
        chains: int = 4,
        layer: str | AsFitted | None = AS_FITTED,
        chunk_size: int = 128,
        refine: bool = False,
        seed: int = 0,
    ) -> Any:
        """Draw from posterior and prior for ArviZ: see `on` and `RunOnData.posterior`."""
        return self.on(adata, layer=layer, seed=seed).posterior(
            num_samples, sites, method=method, chains=chains, chunk_size=chunk_size, refine=refine
        )

    def predictive(
        self,
        adata: Data,
        num_samples: int = 100,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        table: str | None = None,
        layer: str | AsFitted | None = AS_FITTED,
        chunk_size: int = 128,
        refine: bool = False,
        seed: int = 0,
    ) -> PredictiveSummary:
        """Summarise posterior predictive counts: see `on` and `RunOnData.predictive`."""
        on = self.on(adata, layer=layer, seed=seed)
        return on.predictive(
            num_samples, quantiles, table=table, chunk_size=chunk_size, refine=refine
        )

    def check(
        self,
        adata: Data,
        num_replicates: int = 200,
        *,
        replicates: Replicates = "model",
        table: str | None = None,
        layer: str | AsFitted | None = AS_FITTED,
        refine: bool = False,
        seed: int = 0,
    ) -> PredictiveChecks:
        """Compare data with replicates that the model makes: see `on` and `RunOnData.check`."""
        on = self.on(adata, layer=layer, seed=seed)
        return on.check(num_replicates, replicates, table=table, refine=refine)

    def log_likelihoods(
        self,
        adata: Data,
        num_samples: int = 500,
        *,
        layer: str | AsFitted | None = AS_FITTED,
        refine: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return log-likelihoods in nats: see `on` and `RunOnData.log_likelihoods`."""
        on = self.on(adata, layer=layer, seed=seed)
        return on.log_likelihoods(num_samples, refine=refine)

    def conditional_log_likelihoods(
        self,
        adata: Data,
        of: str,
        given: Sequence[str],
        num_samples: int = 500,
        *,
        layer: str | AsFitted | None = AS_FITTED,
        refine: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Say how well tables predict another: see `RunOnData.conditional_log_likelihoods`."""
        on = self.on(adata, layer=layer, seed=seed)
        return on.conditional_log_likelihoods(of, given, num_samples, refine=refine)

    def interpret(
        self,
        adata: Data,
        *,
        layer: str | AsFitted | None = AS_FITTED,
        refine: bool = False,
        at: At | None = None,
        seed: int = 0,
    ) -> Interpretation:
        """Look inside: see `on` and `Interpretation`; with covariates held, `holding`."""
        return self.on(adata, layer=layer, seed=seed).interpret(refine=refine).holding(at)

    def knows(self, adata: Data, *, layer: str | AsFitted | None = AS_FITTED) -> bool:
        """Whether these are the observations that the run was fitted to, in their order."""
        return self.on(adata, layer=layer).is_fitted

    def report(
        self,
        adata: Data,
        path: str | Path,
        *,
        label: str | AsFitted | None = AS_FITTED,
        layer: str | AsFitted | None = AS_FITTED,
        at: At | None = None,
        colour_by: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        """Write a page of HTML about the run: see `vae4counts.inference.write_report`."""
        resolve_name(REPORT)(
            self, adata, path, label=label, layer=layer, at=at, colour_by=colour_by, seed=seed
        )

    def adapt(
        self,
        adata: Data,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 2e-1,
        seed: int = 0,
        label: str | AsFitted | None = AS_FITTED,
        layer: str | AsFitted | None = AS_FITTED,
        device: str = "auto",
        progress: bool = True,
        logger: Logger | None = None,
        split: SplitOptions | str | None = None,
    ) -> Run:
        """Return a run that also knows the new levels of covariates in new data.

        See `vae4counts.inference.adapt`.
        """
        return resolve_name(ADAPT)(
            self,
            adata,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            label=label,
            layer=layer,
            device=device,
            progress=progress,
            logger=logger,
            split=split,
        )

    def save(self, directory: str | Path) -> None:
        """Write the run to a new directory, whole or not at all.

        Raises:
            RunDirectoryError: The directory exists already and is not empty.
        """
        with storage.new_directory(Path(directory).expanduser()) as staging:
            self.write(staging)

    def write(self, directory: Path) -> None:
        """Write the run's files into a directory that exists."""
        config = {
            "format": run_format.FORMAT,
            "model": self.model.config(),
            "guide": self.guide.config(),
            "features": self.features,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "label": self.label,
            "settings": self.settings,
            "modalities": self.modalities,
            "widths": self.widths,
        }
        state = pair_of(self.model, self.guide).state_dict()
        state |= {f"split.{name}": torch.as_tensor(x) for name, x in asdict(self.split).items()}
        state = {name: value.cpu().contiguous() for name, value in state.items()}
        # save_file would make a file that only its owner can read
        (directory / storage.WEIGHTS).write_bytes(save(state))
        storage.write_json(directory / storage.CONFIG, config)
        storage.write_json(directory / storage.METRICS, self.metrics)
        self.history.to_csv(directory / storage.HISTORY, index=False)

    @classmethod
    def load(cls, directory: str | Path, *, device: str | torch.device = "cpu") -> Run:
        """Read a run that `save` wrote. Nothing in it is unpickled or evaluated.

        Args:
            directory: The run's directory.
            device: Where to put the parameters: "auto", "cpu", "cuda", "cuda:1" ...

        Raises:
            RunDirectoryError: A file is missing, broken, or of a newer version.
            ValueError: There is no such device.
        """
        place = device_of(device)
        directory = Path(directory).expanduser()
        config = storage.read_json(directory / storage.CONFIG)
        with storage.reading(directory / storage.CONFIG):
            config = run_format.up_to_date(config)
            fields = run_format.described(config)
            shapes = run_format.shapes(config)
        with storage.reading(directory / storage.WEIGHTS):
            state = renamed_weights(load_file(directory / storage.WEIGHTS), shapes)
            run_format.check_state(state, shapes)
            model, guide = run_format.make_pair(config)
            parts = {name: state.pop(f"split.{name}") for name in run_format.PARTS}
            split = Split(**{name: rows.numpy() for name, rows in parts.items()})
            pair_of(model, guide).load_state_dict(state)
        with storage.reading(directory / storage.HISTORY):
            history = pd.read_csv(directory / storage.HISTORY, **storage.EVERY_DIGIT)
        return cls(
            model=model.to(place).eval(),
            guide=guide.to(place).eval(),
            split=split,
            history=history,
            metrics=storage.read_json(directory / storage.METRICS),
            **fields,
        )
