"""How well a pair explains observations: ELBO, importance-weighted bound, clustering."""

from __future__ import annotations

import math
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
from vae4counts.inference.posterior.facts import as_html, as_text
from vae4counts.inference.posterior.importance import HIGH_K, weight_diagnostics
from vae4counts.inference.posterior.integration import integration_scores
from vae4counts.inference.posterior.leave_one_out import without_each_count
from vae4counts.inference.posterior.row_results import RowResults
from vae4counts.models import Model, NotInModelError

# The names of the shares of sites in the ELBO begin with this, among results by observation.
PART = "part of "
# A component is used if it holds more than this share of the responsibility.
USED_SHARE = 0.01
# From this share of observations with a high Pareto k on, figures come with a note.
MAX_HIGH_SHARE = 0.1
# What an evaluation by refined posteriors adds to the metrics of a run.
OF_POSTERIORS = (
    "elbo",
    "iw_log_likelihood",
    "iw_log_likelihood_se",
    "leave_one_out",
    "leave_one_out_se",
    "leave_one_out_pareto_k_high",
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


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Means per observation over ``n`` observations, log-probabilities in nats.

    A name with ``_se`` holds the standard error of the mean of that name.

    Attributes:
        n: Number of observations.
        log_likelihood: The log-likelihood, exact; None for a pair whose guide samples latents, of
            which the importance-weighted bound is an estimate.
        elbo: Evidence lower bound.
        elbo_parts: Each site's share of it.
        iw_log_likelihood: Importance-weighted bound, ``log 1/S sum_s p(x, z_s) / q(z_s | x)``
            (Burda et al. 2016): above the ELBO, below log p(x), in expectation.
        iw_samples: Number ``S`` of draws for the two; 1 where the guide samples nothing.
        pareto_k_median: Median shape k of the tails of the importance weights (Vehtari et al.
            2024); None for fewer than 100 draws, or if all weights are the same.
        pareto_k_high: Share of the observations with a k above 0.7: their importance-weighted
            bounds and weighted draws cannot be trusted.
        effective_draws: Median share of the draws that count, see `effective_share`.
        leave_one_out: ``sum_d log p(x_d | x_-d)``, each count given all others of its observation;
            None if it was not asked for, or for a model without conditionals.
        leave_one_out_pareto_k_high: Share of the counts with a k above 0.7 of the weights for it.
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
    log_likelihood: float | None
    log_likelihood_se: float | None
    elbo: float
    elbo_parts: dict[str, float]
    iw_log_likelihood: float
    iw_log_likelihood_se: float
    iw_samples: int
    leave_one_out: float | None
    leave_one_out_se: float | None
    leave_one_out_pareto_k_high: float | None
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

    def __repr__(self) -> str:
        return as_text(self._title, self._facts)

    def _repr_html_(self) -> str:
        return as_html(self._title, self._facts)

    @property
    def _title(self) -> str:
        return f"Evaluation of {self.n:,} observations"

    @property
    def _facts(self) -> dict[str, str]:
        """All that is known, with the standard error of a mean beside it."""
        known = {name: value for name, value in self.to_dict().items() if value is not None}
        errors = {name: known.pop(f"{name}_se", None) for name in list(known)}
        del known["n"]
        return {
            name: _shown(value) + ("" if errors[name] is None else f" (s.e. {errors[name]:.2f})")
            for name, value in known.items()
        }

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
    leave_one_out: bool | None = None,
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
        leave_one_out: Whether to predict each count from all others. It takes memory for all
            ``num_samples`` draws of a batch. If None, where it is exact, by one draw.
        processes: The processes that share the work; the batches are then one's part of each.

    Returns:
        Means over all observations.

    Raises:
        NotInModelError: ``batch_of`` is given, and the model has no latent space; or
            ``leave_one_out`` is asked of a model that cannot do it.
        ValueError: ``num_samples`` is below 1.
    """
    if batch_of is not None and model.n_latent is None:
        raise NotInModelError(f"{model.title} has no latent space in which batches could mix")
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    model.eval()
    guide.eval()
    is_exact = not guide.sites  # all draws are then the same
    num_samples = 1 if is_exact else num_samples
    predicts = None if leave_one_out is None and is_exact else bool(leave_one_out)
    rows = RowResults(processes)
    for batch in batches:
        if predicts is None:
            predicts = _has_conditionals(model, guide, batch)
        scores = _scores(model, guide, batch, num_samples, predicts=predicts)
        if batch_of is None:
            scores.pop("z", None)  # which only the mixing of batches reads
        rows.add(batch, **scores)
    whole = {name: values.cpu() for name, values in rows.all().items()}
    n = len(whole["elbo"])
    k = whole.get("pareto_k", torch.tensor([])).numpy()
    k = k[np.isfinite(k)]
    clusters = whole["responsibilities"].numpy() if "responsibilities" in whole else None
    bound, bound_se = _mean_and_error(whole.get("bound"))
    predicted, predicted_se = _mean_and_error(whole.get("leave_one_out"))
    return Evaluation(
        n=n,
        log_likelihood=bound if is_exact else None,
        log_likelihood_se=bound_se if is_exact else None,
        elbo=whole["elbo"].mean().item(),
        elbo_parts={
            name.removeprefix(PART): values.double().mean().item()
            for name, values in whole.items()
            if name.startswith(PART)
        },
        iw_log_likelihood=bound,
        iw_log_likelihood_se=bound_se,
        iw_samples=num_samples,
        leave_one_out=predicted,
        leave_one_out_se=predicted_se,
        leave_one_out_pareto_k_high=_mean_and_error(whole.get("high_k"))[0],
        pareto_k_median=float(np.median(k)) if k.size else None,
        pareto_k_high=float((k > HIGH_K).sum() / n) if k.size else None,
        effective_draws=float(np.median(whole["effective"].numpy())),
        components_used=None if clusters is None else components_used(clusters),
        component_perplexity=None if clusters is None else perplexity(clusters),
        **_agreement(model, clusters, labels, n),
        **_integration(whole.get("z"), batch_of, labels),
    )


def _shown(value: Any) -> str:
    """A figure, or several by name, with as many digits as say something; or text as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}"
    return str(value)


def leave_one_out_sums(
    model: Model, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> np.ndarray:
    """Return ``sum_d log p(x_d | x_-d)`` of each observation, in nats: see `Evaluation`.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations.
        num_samples: Number of draws for each; a guide that samples nothing takes one.

    Raises:
        NotInModelError: The model has no conditionals.
    """
    num_samples = num_samples if guide.sites else 1
    scores = (_scores(model, guide, batch, num_samples, predicts=True) for batch in batches)
    return torch.cat([each["leave_one_out"] for each in scores]).cpu().numpy()


def _scores(
    model: Model, guide: Guide, batch: Batch, num_samples: int, *, predicts: bool
) -> dict[str, Tensor]:
    """Return what is known of each observation of a batch, from all draws of its latents."""
    log_weights, conditionals = [], []
    means: dict[str, Tensor] = {}
    for size in chunks(num_samples, model, batch):
        with whole_noise(batch):
            draws = draw(model, guide, batch, size, conditionals=predicts)
        log_weights.append(draws.log_weights)
        if draws.conditionals is not None:
            conditionals.append(draws.conditionals)
        found: dict[str, Tensor | None] = {
            f"{PART}{name}": part for name, part in draws.elbo_parts().items()
        }
        found |= {"responsibilities": draws.mean_responsibilities, "z": draws.z_mean}
        for name, value in found.items():
            if value is not None:
                means[name] = means.get(name, 0) + value * (size / num_samples)
    stacked = torch.cat(log_weights)
    scores = means | weight_diagnostics(stacked)
    scores["elbo"] = stacked.mean(0)
    scores["bound"] = stacked.logsumexp(0) - math.log(num_samples)
    if conditionals:
        given = torch.cat(conditionals)
        predicted, k = without_each_count(model, guide, batch, stacked, given)
        scores["leave_one_out"] = predicted.sum(-1).to(stacked)
        if k is not None:
            scores["high_k"] = (k > HIGH_K).double().mean(-1).to(stacked)
    return scores


def _has_conditionals(model: Model, guide: Guide, batch: Batch) -> bool:
    try:
        draw(model, guide, batch, 1, conditionals=True)
    except NotInModelError:
        return False
    return True


def _mean_and_error(values: Tensor | None) -> tuple[Any, Any]:
    """Return the mean over the observations and its standard error; None for no values."""
    if values is None:
        return None, None
    n = len(values)
    return values.mean().item(), values.std().item() / math.sqrt(n) if n > 1 else math.nan


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
