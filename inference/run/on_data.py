"""A run together with data: everything that asks a run about observations goes through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data import CountLoader, Counts, Data, MultiData, Share, Tables, to_modalities
from vae4counts.data.warning import warn
from vae4counts.guides import Guide
from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.plots.layout import two_dimensions
from vae4counts.inference.posterior.annotation import Summary, latents_and_components
from vae4counts.inference.posterior.arviz_export import to_arviz
from vae4counts.inference.posterior.comparison import log_likelihoods
from vae4counts.inference.posterior.cross_modal import conditional_log_likelihoods
from vae4counts.inference.posterior.evaluation import Evaluation, evaluate
from vae4counts.inference.posterior.importance import smoothed_estimates
from vae4counts.inference.posterior.leave_one_out import rows_at_once
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks, Replicates, check
from vae4counts.inference.posterior.predictive_summary import PredictiveSummary, summarise
from vae4counts.inference.posterior.refined_posteriors import RefinedPosteriors
from vae4counts.inference.run.alignment import batches_of, counts_like, labels_of
from vae4counts.inference.run.annotating import annotate_data
from vae4counts.inference.run.chains import Method, sampling
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted, FittedPair, fitted_with
from vae4counts.inference.run.watched_batches import WatchedBatches


@dataclass(frozen=True, eq=False, repr=False)
class RunOnData:
    """A run and the observations that it is asked about, read and checked once: see `Run.on`.

    Every method draws from the same seed, so that the same question has the same answer. The
    caller's random state is left as it was.

    Attributes:
        run: The run.
        adata: The observations: an AnnData, or several modalities.
        layer: The layer that holds their counts; None for ``X``.
        label: The column of ``obs`` with known classes; None for none.
        seed: The seed of all draws.
        counts: The counts of the model's features, in the model's order, on its device.
        fingerprint: A digest of the observations' names and counts, see `FittedPair`.
    """

    run: FittedPair
    adata: AnnData | MultiData
    layer: str | None
    label: str | None
    seed: int
    counts: Counts
    fingerprint: str
    _interpretations: dict[bool, Interpretation] = field(default_factory=dict, init=False)
    _summaries: dict[tuple[int, bool], Summary] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls,
        run: FittedPair,
        adata: Data,
        label: str | AsFitted | None = AS_FITTED,
        seed: int = 0,
        layer: str | AsFitted | None = AS_FITTED,
        modalities: Mapping[str, str] | AsFitted | None = AS_FITTED,
    ) -> RunOnData:
        """Read, check, align and recognise data: see `Run.on`."""
        label = run.label if label is AS_FITTED else label
        layer = run.layer if layer is AS_FITTED else layer
        modalities = run.modalities if modalities is AS_FITTED else modalities
        with fitted_with("layer", layer, run.layer):
            data = to_modalities(adata, run.model.tables, modalities, layer, lacking=True)
            counts, known_by = counts_like(data, run, layer, run.covariate_columns)
        return cls(run, data, layer, label, seed, counts.to(run.device), known_by)

    def through(self, run: FittedPair) -> RunOnData | None:
        """Return the same data as another run sees them; None if it reads them differently."""
        same = (
            run.features == self.run.features
            and run.layer == self.run.layer
            and run.modalities == self.run.modalities
            and dict(run.model.supports) == dict(self.run.model.supports)
            and run.covariate_columns == self.run.covariate_columns
        )
        counts = self.counts.to(run.device)
        return replace(self, run=run, label=run.label, counts=counts) if same else None

    def __repr__(self) -> str:
        size = f"{len(self.counts):,} observations x {self.counts.n_features:,} features"
        return f"RunOnData({self.run.model.title}, {size})"

    @property
    def is_fitted(self) -> bool:
        """Whether these are the observations that the run was fitted to, in their order."""
        return self.fingerprint == self.run.fingerprint

    @property
    def held_out(self) -> np.ndarray:
        """Positions of the observations that training has not seen.

        Of the data that the run was fitted to, the test part; of any other data, all.
        """
        return self.run.split.test if self.is_fitted else np.arange(self.adata.n_obs)

    @cached_property
    def classes(self) -> np.ndarray | None:
        """The known class of each observation, NaN where it has none; None without a label.

        Raises:
            DataError: No observation has a class.
            UnknownName: The data have no such column.
        """
        with fitted_with("label", self.label, self.run.label):
            return labels_of(self.adata, self.label, self.run.ignored_labels(self.label))

    @property
    def interpretation(self) -> Interpretation:
        """The look inside the model: rates, differential expression, components ..."""
        return self.interpret()

    def interpret(self, *, refine: bool = False) -> Interpretation:
        """Look inside the model: see `Interpretation`.

        Args:
            refine: Whether to refine the posteriors of all observations first, see `refined`.
        """
        if refine not in self._interpretations:
            run = self.run
            self._interpretations[refine] = Interpretation(
                run.model,
                self._guide(refine=refine),
                self.counts,
                run.features,
                self.adata.obs,
                seed=self.seed,
            )
        return self._interpretations[refine]

    @cached_property
    def refined(self) -> RefinedPosteriors:
        """Posteriors of single observations, which are better than the guide's, see `refine`.

        They are found when a question is asked with ``refine=True``, for the observations that it
        is about, and kept for the next one. ``save`` and ``load`` keep them for longer.
        """
        run = self.run
        pair = run.model.eval(), run.guide.eval()
        first = run.processes.is_first
        return RefinedPosteriors(*pair, self.counts, self.fingerprint, self.seed, progress=first)

    def evaluate(
        self,
        num_samples: int = 100,
        *,
        refine: bool = False,
        batch: str | None = None,
        leave_one_out: bool | None = None,
    ) -> Evaluation:
        """Measure how well the pair explains the observations that training has not seen.

        Args:
            num_samples: Number of draws for each observation.
            refine: Whether to refine their posteriors first, to measure the model, not the guide.
            batch: A column of ``obs``, to measure how well its values mix in the latent space.
            leave_one_out: Whether to predict each count from all others; if None, where exact.

        Returns:
            Means per observation, in nats. For the data that the run was fitted to they also go
            into `Run.metrics`; those of refined posteriors as ``refined_elbo`` and the like.

        Raises:
            DataError: An observation has no batch, or all have the same.
            NotInModelError: The model has no latent space to mix batches in, or no conditionals.
            UnknownName: The data have no such column, or none of the label's name.
        """
        run, classes = self.run, self.classes
        batch_of = None if batch is None else batches_of(self.adata, batch)[self.held_out]
        guide = self._guide(self.held_out, refine=refine)
        size = rows_at_once(num_samples, len(run.features)) if leave_one_out else 128
        batches = self._batches(self._held_out_counts(), size, run.processes.share)
        with self._seeded():
            result = evaluate(
                run.model,
                guide,
                batches,
                num_samples=num_samples,
                labels=None if classes is None else classes[self.held_out],
                batch_of=batch_of,
                leave_one_out=leave_one_out,
                processes=run.processes,
            )
        if result.n_labelled == 0 and result.components_used is not None:
            warn("there are no ARI and NMI: none of these observations has a label")
        if self.is_fitted:
            run.metrics |= run.sizes | (result.refined_metrics() if refine else result.to_dict())
        return result

    def summary(self, num_samples: int = 10, *, refine: bool = False) -> Summary:
        """Return means of q(z | x) and responsibilities of all observations, computed once.

        Args:
            num_samples: Draws of z over which responsibilities are averaged.
            refine: Whether to refine their posteriors first, see `refined`.

        Returns:
            The means, shape ``(N, L)``, and p(component | values), shape ``(N, K)``; None for what
            the model does not have.
        """
        if (num_samples, refine) not in self._summaries:
            run, guide = self.run, self._guide(refine=refine)
            batches = self._batches(self.counts, share=run.processes.share)
            with self._seeded():
                self._summaries[num_samples, refine] = latents_and_components(
                    run.model, guide, batches, num_samples, run.processes
                )
        return self._summaries[num_samples, refine]

    @cached_property
    def layout(self) -> tuple[np.ndarray, tuple[str, str]] | None:
        """The observations in the plane by their latents, in all pictures: see `two_dimensions`."""
        latents = self.summary()[0]
        return None if latents is None else two_dimensions(latents, self.seed)

    annotate = annotate_data

    def posterior(
        self,
        num_samples: int | None = None,
        sites: Sequence[str] | None = None,
        *,
        method: Method = "guide",
        chains: int = 4,
        chunk_size: int = 128,
        refine: bool = False,
    ) -> Any:
        """Draw from posterior and prior for ArviZ: see `to_arviz`.

        Args:
            num_samples: Number of draws; for "hmc" of each chain. If None, 100, or 1,000 for "hmc".
            sites: Of the model's latents and tables (``"z"``, ``"component"``, ``"counts"`` ...);
                all latents if None.
            method: "guide" for independent draws from q; "hmc" for chains of Hamiltonian Monte
                Carlo, which r-hat and effective sample sizes tell something true about. Chains
                take about 0.1 s an observation: choose some.
            chains: Number of chains for "hmc".
            chunk_size: Observations that are worked on at once.
            refine: Whether to refine their posteriors first, see `refined`; always for "hmc".

        Raises:
            NotInModelError: "hmc" for a model that sums all its latents out.
            TooLargeError: The draws would take over 4 GiB: see `predictive`.
            UnknownName: The model has no such site.
            ValueError: An unknown method, or fewer than 1 chain.
        """
        run, is_hmc = self.run, method == "hmc"
        # not watched: chains have a bar of their own
        batches = CountLoader(self.counts, batch_size=chunk_size, shuffle=False)
        if num_samples is None:
            num_samples = 1000 if is_hmc else 100
        guide = self._guide(refine=refine or is_hmc)
        with self._seeded(), sampling(method, run, guide, chains, len(self.counts)) as sampler:
            return to_arviz(run.model, sampler, batches, *self._names, num_samples, sites)

    def predictive(
        self,
        num_samples: int = 100,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        *,
        table: str | None = None,
        chunk_size: int = 128,
        refine: bool = False,
    ) -> PredictiveSummary:
        """Summarise posterior predictive counts, keeping no draws: see `summarise`."""
        batches, guide = self._batches(self.counts, chunk_size), self._guide(refine=refine)
        pair = self.run.model, guide
        with self._seeded():
            return summarise(*pair, batches, *self._names, num_samples, quantiles, table)

    def check(
        self,
        num_replicates: int = 200,
        replicates: Replicates = "model",
        *,
        table: str | None = None,
        refine: bool = False,
    ) -> PredictiveChecks:
        """Compare held-out observations with replicates: see `predictive_checks.check`."""
        run, batches = self.run, self._batches(self._held_out_counts())
        guide = self._guide(self.held_out, refine=refine)
        with self._seeded():
            return check(run.model, guide, batches, run.features, num_replicates, replicates, table)

    def log_likelihoods(
        self, num_samples: int = 500, *, refine: bool = False, leave_one_out: bool = False
    ) -> pd.DataFrame:
        """Return log-likelihoods (nats), a row an observation that training has not seen.

        See `vae4counts.inference.posterior.comparison.log_likelihoods`.
        """
        size = rows_at_once(num_samples, len(self.run.features)) if leave_one_out else 128
        batches, model = self._batches(self._held_out_counts(), size), self.run.model
        guide = self._guide(self.held_out, refine=refine)
        with self._seeded():
            found = log_likelihoods(model, guide, batches, num_samples, leave_one_out=leave_one_out)
        return pd.DataFrame(found, index=self.adata.obs_names[self.held_out])

    def conditional_log_likelihoods(
        self,
        of: str,
        given: Sequence[str],
        num_samples: int = 500,
        rows: np.ndarray | None = None,
        *,
        refine: bool = False,
    ) -> pd.DataFrame:
        """Return log p(one table | others) in nats, a row an observation.

        See `vae4counts.inference.posterior.cross_modal.conditional_log_likelihoods`.

        Args:
            of: The table that is predicted.
            given: The tables that it is predicted from.
            num_samples: Number of draws for each observation, 100 or more.
            rows: Positions of observations; by default those that training has not seen.
            refine: Whether to refine the posteriors given each of them, and both, first: then the
                model is measured, not the guide. Unlike `refined`, they are not kept.
        """
        run, rows = self.run, self.held_out if rows is None else rows
        counts = self.counts.subset(rows)

        def guide_given(tables: Sequence[str]) -> Guide:
            if not refine:
                return run.guide
            parts = run.model, run.guide, cast(Tables, counts).only(tables), self.fingerprint
            return RefinedPosteriors(*parts, self.seed, progress=run.processes.is_first).guide()

        batches = CountLoader(counts, seed=self.seed)  # shuffled, so that shuffled pairs are random
        with self._seeded():
            parts = run.model, guide_given, batches, of, given, num_samples
            found = conditional_log_likelihoods(*parts)
        return pd.DataFrame(found, index=self.adata.obs_names[rows])

    def posterior_quality(
        self, rows: np.ndarray | None = None, num_samples: int = 500, *, refine: bool = False
    ) -> pd.DataFrame:
        """Return how far the draws from each observation's posterior can be trusted.

        Args:
            rows: Positions of observations; all if None.
            num_samples: Number of draws for each, 100 or more.
            refine: Whether to refine their posteriors first, see `refined`.

        Returns:
            A row an observation: ``pareto_k`` and ``effective_draws``, see `smoothed_estimates`.
        """
        counts = self.counts if rows is None else self.counts.subset(rows)
        names = self.adata.obs_names if rows is None else self.adata.obs_names[rows]
        guide, batches = self._guide(rows, refine=refine), self._batches(counts)
        with self._seeded():
            found = smoothed_estimates(self.run.model, guide, batches, num_samples)
        return pd.DataFrame(found, names, ["pareto_k", "effective_draws"])

    @property
    def _names(self) -> tuple[list[str], list[str]]:
        return list(self.adata.obs_names), self.run.features

    def _guide(self, rows: np.ndarray | None = None, *, refine: bool) -> Guide:
        """Return the guide of some observations, by their positions; of all if None."""
        return self.refined.guide(rows) if refine else self.run.guide

    def _held_out_counts(self) -> Counts:
        return self.counts.subset(self.held_out) if self.is_fitted else self.counts

    def _batches(
        self,
        counts: Counts,
        chunk_size: int = 128,
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> WatchedBatches:
        batches = CountLoader(counts, batch_size=chunk_size, shuffle=False, share=share)
        return WatchedBatches(batches, visible=self.run.processes.is_first)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Draw from the seed, in evaluation mode."""
        self.run.model.eval()
        self.run.guide.eval()
        with own_randomness(self.run.device, self.seed), fast_products():
            yield
