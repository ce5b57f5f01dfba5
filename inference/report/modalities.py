"""The section of a model of several tables: what each says, and what it says of the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from markupsafe import Markup

from vae4counts.data import DataError
from vae4counts.inference import plots
from vae4counts.inference.posterior.cross_modal import conditional_summary
from vae4counts.inference.report.elements import figure, paragraph, table
from vae4counts.inference.report.figures import blank_figure, latent_shares_figure
from vae4counts.inference.report.subject import Section, Subject

# Observations of which tables are predicted for the page, and draws for each.
MOST_PREDICTED, DRAWS = 500, 200
EXPLAINED = {
    "observations": "observations",
    "log_likelihood": "log p(x | z)",
    "information": "information",
    "entropy": "entropy of the component",
    "entropy_alone": "entropy by it alone",
    "agreement": "agreement",
}
RENAMED = {
    "log_likelihood": "log p(of | given)",
    "se": "standard error",
    "by_difference": "as a difference",
    "marginal": "log p(of)",
    "shuffled": "given another's",
    "per_token": "per token",
    "bad_k": "bad weights",
}


def modalities(subject: Subject) -> Section | None:
    """Tell what each table says of the observations, and how well it predicts the others."""
    if len(subject.run.model.tables) == 1 or subject.run.model.n_latent is None:
        return None
    said = subject.view.modality_table().rename(columns=EXPLAINED)
    words = (
        "All tables share one latent space. Information is what a table says of the latents beyond "
        "all others, in nats: KL(q(z | all) || q(z | all others)). The entropy of the component is "
        "given all tables, or by this one alone; agreement is the share of the observations whose "
        "most likely component is the same by both. Means are over the observations that have the "
        "table."
    )
    body = [paragraph(words), table(said, "What each table says")]
    if (drawn := latent_shares_figure(subject)) is not None:
        caption = (
            "How much of each table's variation is along each latent. A latent that matters in one "
            "table alone is that table's own; one that matters in several is common to them."
        )
        body.append(figure(drawn, "Heat map of latents by tables; each column adds to 1.", caption))
    predicted = pd.DataFrame(list(_predictions(subject)))
    if len(predicted):
        body += _shown(predicted)
    return Section("Modalities", body)


def _predictions(subject: Subject) -> Iterator[dict[str, object]]:
    """Yield how well each table predicts each other, and all others together."""
    on = subject.on
    names = list(subject.run.model.tables)
    rows = np.random.default_rng(on.seed).permutation(on.held_out)[:MOST_PREDICTED]
    for of in names:
        others = [name for name in names if name != of]
        for given in [[name] for name in others] + ([others] if len(others) > 1 else []):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the table shows: both ways, bad weights
                try:
                    found = on.conditional_log_likelihoods(of, given, DRAWS, rows=np.sort(rows))
                except DataError:  # no observation has both
                    continue
            label = given[0] if len(given) == 1 else "all others"
            yield {"of": of, "given": label, **conditional_summary(found)}


def _shown(predicted: pd.DataFrame) -> list[Markup]:
    gains = predicted.assign(gain=predicted["log_likelihood"] - predicted["marginal"])
    heat = gains.pivot_table(index="of", columns="given", values="gain")
    order = [*dict.fromkeys(gains["of"]), "all others"]
    heat = heat.reindex(index=order[:-1], columns=[name for name in order if name in heat])
    drawn = blank_figure(3.5 + 1.3 * heat.shape[1], 1.8 + 0.6 * len(heat))
    plots.gains_heatmap(heat, ax=drawn.add_subplot())
    best = gains.loc[gains["gain"].idxmax()]
    words = (
        "The log-likelihood of one table given others, of evaluated observations that have both, "
        "in nats per observation and per token (one count). It is estimated in two ways, which "
        "should agree: by draws of the latents given the other tables, weighted by their "
        "importance, and as a difference of two log-likelihoods. It should be above that of the "
        "table given nothing, and above that given the tables of another observation. Bad weights "
        "are the share of observations with a Pareto k above 0.7."
    )
    caption = (
        "By how many nats per observation a table is better predicted given others. The largest "
        f"gain is that of {best['of']} given {best['given']}: {best['gain']:.1f} nats."
    )
    listed = predicted.rename(columns=RENAMED).set_index("of")
    return [
        paragraph(words),
        figure(drawn, "Heat map of gains, predicted tables by given ones.", caption),
        table(listed, f"Tables given others; {DRAWS} draws for each observation"),
    ]
