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
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.row_results import RowResults
from vae4counts.models import Model

# A component is used if it holds more than this share of the responsibility.
USED_SHARE = 0.01


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
        components_used: Components with over 1 % of the responsibility; None without components.
        component_perplexity: Exponential of the entropy of the mean responsibilities.
        n_labelled: Number of observations with a label; None without labels.
        ari: Adjusted Rand index of components and labels, over these; None without either.
        nmi: Normalised mutual information of the same.
        label_note: Why these two are missing although there are labels; None otherwise.
    """

    n: int
    elbo: float
    elbo_parts: dict[str, float]
    iw_log_likelihood: float
    iw_samples: int
    components_used: int | None
    component_perplexity: float | None
    n_labelled: int | None
    ari: float | None
    nmi: float | None
    label_note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def evaluate(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    *,
    num_samples: int = 100,
    labels: np.ndarray | None = None,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> Evaluation:
    """Evaluate a pair on batches of observations, streaming over batches and draws.

    Args:
        model: The model.
        guide: Its guide.
        batches: The observations, in the order of the labels.
        num_samples: Number of draws for each observation.
        labels: Known classes, one an observation; missing for those that have none.
        processes: The processes that share the work; the batches are then one's part of each.

    Returns:
        Means over all observations.

    Raises:
        ValueError: ``num_samples`` is below 1.
    """
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
        stacked = torch.cat(log_weights)
        bound = stacked.logsumexp(0) - math.log(num_samples)
        rows.add(batch, elbo=stacked.mean(0), bound=bound, responsibilities=share)
    whole = rows.all()
    n = len(whole["elbo"])
    totals = torch.tensor(list(parts.values()), dtype=torch.float64, device=whole["elbo"].device)
    part_means = (processes.sum(totals) / n).tolist()
    clusters = whole["responsibilities"].cpu().numpy() if "responsibilities" in whole else None
    labelled = None if labels is None else pd.notna(labels)
    ari, nmi, label_note = None, None, None
    if labels is not None and clusters is None:
        label_note = f"{model.title} has no components to compare the labels with"
    elif labels is not None and not np.any(labelled):
        label_note = f"none of the {n:,} evaluated observations has a label"
    elif labels is not None and pd.unique(labels[labelled]).size == 1:
        label_note = "the evaluated observations with a label are all of one class"
    elif labels is not None and clusters is not None:
        ari, nmi = _agreement(clusters[labelled], labels[labelled])
    return Evaluation(
        n=n,
        elbo=whole["elbo"].mean().item(),
        elbo_parts=dict(zip(parts, part_means, strict=True)),
        iw_log_likelihood=whole["bound"].mean().item(),
        iw_samples=num_samples,
        components_used=None if clusters is None else components_used(clusters),
        component_perplexity=None if clusters is None else perplexity(clusters),
        n_labelled=None if labelled is None else int(labelled.sum()),
        ari=ari,
        nmi=nmi,
        label_note=label_note,
    )


def components_used(responsibilities: np.ndarray) -> int:
    """Count the components that hold over 1 % of the responsibility; input ``(n, K)``."""
    return int((responsibilities.mean(0) > USED_SHARE).sum())


def perplexity(responsibilities: np.ndarray) -> float:
    """Return ``exp(entropy)`` of the mean responsibilities ``(n, K)``, between 1 and ``K``."""
    return float(np.exp(entr(responsibilities.mean(0)).sum()))


def _agreement(responsibilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """ARI and NMI of the likeliest components and the labels."""
    from sklearn import metrics  # 70 MB that only this needs

    components = responsibilities.argmax(1)
    ari = metrics.adjusted_rand_score(labels, components)
    return float(ari), float(metrics.normalized_mutual_info_score(labels, components))
