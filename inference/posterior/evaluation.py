"""How well a pair explains observations: ELBO, importance-weighted bound, clustering."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import entr
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.guides import Guide
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.importance import HIGH_K, weight_diagnostics
from vae4counts.inference.posterior.integration import integration_scores
from vae4counts.inference.posterior.row_results import RowResults
from vae4counts.models import Model, NotInModelError

# A component is used if it holds more than this share of the responsibility.
USED_SHARE = 0.01
# From this share of observations with a high Pareto k on, figures come with a note.
MAX_HIGH_SHARE = 0.1
# What an evaluation by refined posteriors adds to the metrics of a run.
OF_POSTERIORS = (
    "elbo",
    "iw_log_likelihood",
    "pareto_k_median",
    "pareto_k_high",
    "effective_draws",
    "components_used",
    "component_perplexity",
    "ari",
    "nmi",
    "accuracy",
    "ilisi",
    "clisi",
    "batch_silhouette",
    "graph_connectivity",
    "posterior_note",
)


@dataclass(frozen=True)
class Evaluation:
    """Means per observation over ``n`` observations, log-probabilities in nats.

    Attributes:
        n: Number of observations.
        elbo: Evidence lower bound.
        elbo_parts: Each site's share of it.
        iw_log_likelihood: Importance-weighted bound, ``log 1/S sum_s p(x, z_s) / q(z_s | x)``
            (Burda et al. 2016): above the ELBO, below log p(x), in expectation.
        iw_samples: Number ``S`` of draws for the two.
        pareto_k_median: Median shape k of the tails of the importance weights (Vehtari et al.
            2024); None for fewer than 100 draws, or if all weights are the same.
        pareto_k_high: Share of the observations with a k above 0.7: their importance-weighted
            bounds and weighted draws cannot be trusted.
        effective_draws: Median share of the draws that count, see `effective_share`.
        components_used: Components with over 1 % of the responsibility; None without components.
        component_perplexity: Exponential of the entropy of the mean responsibilities.
        n_labelled: Number of observations with a label; None without labels.
        ari: Adjusted Rand index of components and labels, over these; None without either.
        nmi: Normalised mutual information of the same.
        accuracy: Share of the observations with a label whose predicted label is the same; None
            for a model without labels, or labels of which none is a class of the model.
        label_note: Why ARI and NMI are missing although there are labels; None otherwise.
        ilisi: How well batches are mixed in the latent space, 0 to 1, which is best; None without
            batches. See `vae4counts.inference.posterior.integration`, also for the next three.
        clisi: How pure the neighbourhoods of the latent space are in labels.
        batch_silhouette: How little batches are told apart within labels.
        graph_connectivity: How far observations of a label are connected.
    """

    n: int
    elbo: float
    elbo_parts: dict[str, float]
    iw_log_likelihood: float
    iw_samples: int
    pareto_k_median: float | None
    pareto_k_high: float | None
    effective_draws: float
    components_used: int | None
    component_perplexity: float | None
    n_labelled: int | None
    ari: float | None
    nmi: float | None
    accuracy: float | None
    label_note: str | None
    ilisi: float | None = None
    clisi: float | None = None
    batch_silhouette: float | None = None
    graph_connectivity: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the note on the posteriors as JSON values."""
        return asdict(self) | {"posterior_note": self.posterior_note}

    def refined_metrics(self) -> dict[str, Any]:
        """Return the fields that depend on the posteriors, named as those of refined ones."""
        return {f"refined_{name}": getattr(self, name) for name in OF_POSTERIORS}

    @property
    def posterior_note(self) -> str | None:
        """What to know of the posterior that this rests on; None if it can be trusted."""
        if self.pareto_k_high is None or self.pareto_k_high <= MAX_HIGH_SHARE:
            return None
        return (
            f"for {self.pareto_k_high:.0%} of the observations the importance weights have too "
            "heavy a tail (Pareto k above 0.7): q(z | x) is far from the posterior there, and the "
            "log-likelihood is above the importance-weighted figure by an unknown amount"
        )


def evaluate(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    *,
    num_samples: int = 100,
    labels: np.ndarray | None = None,
    batch_of: np.ndarray | None = None,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> Evaluation:
    """Evaluate a pair on batches of observations, streaming over batches and draws.

    Args:
        model: The model.
        guide: Its guide.
        batches: The observations, in the order of the labels.
        num_samples: Number of draws for each observation.
        labels: Known classes, one an observation; missing for those that have none.
        batch_of: The experimental batch of each observation, to measure how well these are mixed in
            the latent space; None to leave that out.
        processes: The processes that share the work; the batches are then one's part of each.

    Returns:
        Means over all observations.

    Raises:
        NotInModelError: ``batch_of`` is given, and the model has no latent space.
        ValueError: ``num_samples`` is below 1.
    """
    if batch_of is not None and model.n_latent is None:
        raise NotInModelError(f"{model.title} has no latent space in which batches could mix")
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    model.eval()
    guide.eval()
    rows = RowResults(processes)
    parts: defaultdict[str, float] = defaultdict(float)
    for batch in batches:
        own = batch.whole.n_rows
        log_weights = []
        share: Tensor | None = None
        z: Tensor | None = None
        for size in chunks(num_samples, model, batch):
            with whole_noise(batch):
                draws = draw(model, guide, batch, size)
            log_weights.append(draws.log_weights)
            weight = size / num_samples
            for name, part in draws.elbo_parts().items():
                parts[name] += weight * part[:own].double().sum().item()
            if draws.responsibilities is not None:
                mean = weight * draws.responsibilities.mean(0)
                share = mean if share is None else share + mean
            if batch_of is not None and draws.z_mean is not None:
                mean = weight * draws.z_mean
                z = mean if z is None else z + mean
        stacked = torch.cat(log_weights)
        bound = stacked.logsumexp(0) - math.log(num_samples)
        rows.add(
            batch,
            elbo=stacked.mean(0),
            bound=bound,
            responsibilities=share,
            z=z,
            **weight_diagnostics(stacked),
        )
    whole = {name: values.cpu() for name, values in rows.all().items()}
    n = len(whole["elbo"])
    totals = torch.tensor(list(parts.values()), dtype=torch.float64, device=batch.index.device)
    part_means = (processes.sum(totals) / n).tolist()
    k = whole.get("pareto_k", torch.tensor([])).numpy()
    k = k[np.isfinite(k)]
    clusters = whole["responsibilities"].numpy() if "responsibilities" in whole else None
    return Evaluation(
        n=n,
        elbo=whole["elbo"].mean().item(),
        elbo_parts=dict(zip(parts, part_means, strict=True)),
        iw_log_likelihood=whole["bound"].mean().item(),
        iw_samples=num_samples,
        pareto_k_median=float(np.median(k)) if k.size else None,
        pareto_k_high=float((k > HIGH_K).sum() / n) if k.size else None,
        effective_draws=float(np.median(whole["effective"].numpy())),
        components_used=None if clusters is None else components_used(clusters),
        component_perplexity=None if clusters is None else perplexity(clusters),
        **_agreement(model, clusters, labels, n),
        **_integration(whole.get("z"), batch_of, labels),
    )


def _integration(
    z: Tensor | None, batch_of: np.ndarray | None, labels: np.ndarray | None
) -> dict[str, Any]:
    """How well batches are mixed in the latent space; nothing without batches."""
    if batch_of is None or z is None:
        return {}
    return dict(integration_scores(z.numpy(), batch_of, labels))


def _agreement(
    model: Model, responsibilities: np.ndarray | None, labels: np.ndarray | None, n: int
) -> dict[str, Any]:
    """How far the likeliest components and the labels agree, or why that is not known."""
    names = ("n_labelled", "ari", "nmi", "accuracy", "label_note")
    found: dict[str, Any] = dict.fromkeys(names)
    if labels is None:
        return found
    labelled = pd.notna(labels)
    found["n_labelled"] = int(labelled.sum())
    if responsibilities is not None and model.labels is not None:
        predicted = assigned(responsibilities, model.labels.names(responsibilities.shape[1]))
        if np.isin(labels[labelled], model.labels.classes).any():
            found["accuracy"] = float((np.asarray(predicted) == labels)[labelled].mean())
    if responsibilities is None:
        found["label_note"] = f"{model.title} has no components to compare the labels with"
    elif not labelled.any():
        found["label_note"] = f"none of the {n:,} evaluated observations has a label"
    elif pd.unique(labels[labelled]).size == 1:
        found["label_note"] = "the evaluated observations with a label are all of one class"
    else:
        from sklearn import metrics  # 70 MB that only this needs

        pair = labels[labelled], responsibilities[labelled].argmax(1)
        found["ari"] = float(metrics.adjusted_rand_score(*pair))
        found["nmi"] = float(metrics.normalized_mutual_info_score(*pair))
    return found


def components_used(responsibilities: np.ndarray) -> int:
    """Count the components that hold over 1 % of the responsibility; input ``(n, K)``."""
    return int((responsibilities.mean(0) > USED_SHARE).sum())


def perplexity(responsibilities: np.ndarray) -> float:
    """Return ``exp(entropy)`` of the mean responsibilities ``(n, K)``, between 1 and ``K``."""
    return float(np.exp(entr(responsibilities.mean(0)).sum()))
