"""Metrics as a table on the screen."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from vae4counts.data.text import one_line
from vae4counts.inference.cli.application import screen


def show_prediction(summary: dict[str, float], title: str) -> None:
    """Print how well some tables predict another, see `conditional_summary`."""
    table = Table(title=one_line(title), show_header=False)
    table.add_row("observations that have both", f"{summary['observations']:,.0f}")
    error = f" ± {summary['se']:,.3f}" if summary["observations"] > 1 else ""
    table.add_row("by weighted draws", f"{summary['log_likelihood']:,.3f}{error}")
    table.add_row("as a difference of two log-likelihoods", f"{summary['by_difference']:,.3f}")
    table.add_row("given nothing", f"{summary['marginal']:,.3f}")
    table.add_row("given those of another observation", f"{summary['shuffled']:,.3f}")
    table.add_row("per token", f"{summary['per_token']:,.4f}")
    table.add_row("share of bad weights (Pareto k above 0.7)", f"{summary['bad_k']:.0%}")
    screen.print(table)


def show_metrics(metrics: dict[str, Any], title: str) -> None:
    """Print the metrics that matter."""
    from vae4counts.inference.run.metric_names import METRICS, measured

    held_out = "held-out observations" if "n_test" in metrics else "observations"
    table = Table(title=one_line(title), show_header=False)
    known = measured(metrics)
    for key, what in {"n": held_out, **METRICS}.items():
        if key in known:
            value = known[key]
            table.add_row(what, f"{value:,}" if isinstance(value, int) else f"{value:,.3f}")
    screen.print(table)
    refined = "refined_elbo" in metrics
    if note := metrics.get("refined_posterior_note" if refined else "posterior_note"):
        remedy = "" if refined else "; --refine finds better posteriors"
        screen.print(f"Posteriors: {note}{remedy}", soft_wrap=True)
    if note := metrics.get("label_note"):
        screen.print(f"No ARI and NMI: {note}", soft_wrap=True)
