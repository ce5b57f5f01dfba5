"""The section about a topic model's topics."""

from __future__ import annotations

from vae4counts.inference.report.elements import figure, paragraph, table
from vae4counts.inference.report.figures import topics as topics_figure
from vae4counts.inference.report.subject import Section, Subject

TOP = 8


def topics(subject: Subject) -> Section | None:
    """List the topics: their features, their shares, their coherence."""
    drawn = topics_figure(subject)
    if drawn is None:
        return None
    listed = subject.view.topics(TOP)
    words = listed["feature"].astype(str) + [f" ({weight:.1%})" for weight in listed["weight"]]
    described = subject.view.topic_table().drop(columns="name")
    described.insert(0, "features", words.groupby(listed["topic"], sort=False).agg(", ".join))
    said = (
        "Each observation is a mixture of topics, and each topic a distribution over the features: "
        "parts that add up, none of them negative. Listed are the features that are most relevant "
        "to a topic, common in it and more so than elsewhere, with the share of the topic's counts "
        "that they hold. The coherence tells whether a topic's ten largest features occur in the "
        "same observations: 1 for always together, 0 for independent, -1 for never together."
    )
    caption = "The most relevant features of each topic, and which topics their counts come from."
    picture = figure(drawn, "Heat map of the features listed in the table, by topic.", caption)
    return Section("Topics", [paragraph(said), table(described, "Topics"), picture])
