"""The names of metrics, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = {
    "log_likelihood": "log-likelihood (nats each)",
    "log_likelihood_se": "standard error of that",
    "elbo": "ELBO (nats each)",
    "iw_log_likelihood": "importance-weighted log-likelihood (nats each)",
    "iw_log_likelihood_se": "standard error of that",
    "leave_one_out": "each count given all others, log-likelihood (nats each)",
    "leave_one_out_se": "standard error of that",
    "leave_one_out_pareto_k_high": "share of the counts with a Pareto k above 0.7 there",
    "pareto_k_high": "share of observations with a Pareto k above 0.7",
    "refined_elbo": "ELBO of refined posteriors",
    "refined_iw_log_likelihood": "importance-weighted log-likelihood of these",
    "refined_leave_one_out": "each count given all others, by refined posteriors",
    "refined_pareto_k_high": "share with a Pareto k above 0.7 of these",
    "components_used": "components used",
    "component_perplexity": "component perplexity",
    "nats_over_one_gaussian": "nats gained over one Gaussian (each)",
    "nats_standard_error": "standard error of that",
    "n_labelled": "of these observations, with a label",
    "ari": "ARI against the labels",
    "nmi": "NMI against the labels",
    "accuracy": "accuracy of predicted labels",
    "ilisi": "mixing of batches (iLISI, 0 to 1)",
    "clisi": "purity of labels (cLISI, 0 to 1)",
    "batch_silhouette": "batch silhouette within labels (0 to 1)",
    "graph_connectivity": "graph connectivity of labels (0 to 1)",
    "epochs": "epochs",
    "seconds": "seconds",
    "observations_per_second": "observations a second",
    "threads": "threads",
}

# What says the same again where the log-likelihood is exact.
INEXACT = frozenset(
    name for name in METRICS if name.startswith(("elbo", "iw_log_likelihood", "refined_"))
)


def measured(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured, by name, without what only repeats an exact log-likelihood."""
    is_exact = metrics.get("log_likelihood") is not None
    return {
        name: value
        for name, value in metrics.items()
        if value is not None and not (is_exact and name in INEXACT)
    }
