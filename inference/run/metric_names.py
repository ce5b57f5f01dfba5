"""The names of metrics, wherever they are shown."""

from __future__ import annotations

METRICS = {
    "elbo": "ELBO (nats each)",
    "iw_log_likelihood": "importance-weighted log-likelihood (nats each)",
    "pareto_k_high": "share of observations with a Pareto k above 0.7",
    "refined_elbo": "ELBO of refined posteriors",
    "refined_iw_log_likelihood": "importance-weighted log-likelihood of these",
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
