"""The table that a question is about which only models of one table can answer."""

from __future__ import annotations

from typing import Any

from vae4counts.models import Model, NotInModelError
from vae4counts.models.joint import JointDistribution


def require_counts(model: Model) -> None:
    """Check that a model's observed site holds counts.

    Raises:
        NotInModelError: It holds other values.
    """
    if not model.holds_counts:
        raise NotInModelError(
            f"{type(model).__name__} is not a distribution of counts: it predicts none, and its "
            "likelihood cannot be compared with that of counts"
        )


def only_table(model: Model) -> str:
    """Return the name of a model's only table, which is also that of the site that observes it.

    Raises:
        NotInModelError: The model has several tables.
    """
    if len(model.tables) != 1:
        raise NotInModelError(
            f"{model.title} has {len(model.tables)} tables ({', '.join(model.tables)}): this needs "
            "a model of one"
        )
    return model.tables[0]


def count_table(model: Model) -> str:
    """Return the name of a model's only table, which holds counts.

    Raises:
        NotInModelError: The model has several tables, or its table does not hold counts.
    """
    require_counts(model)
    return only_table(model)


def joint_distribution(model: Model, nodes: Any) -> JointDistribution:
    """Return the distribution of the counts given the latents, from a trace of the model.

    Raises:
        NotInModelError: The model does not describe one table of counts by a joint distribution
            given its latents.
    """
    table = count_table(model)
    if model.reads_counts:
        raise NotInModelError(f"{model.title} has no distribution of counts given its latents")
    counts = nodes[table]["fn"]
    if not isinstance(counts, JointDistribution):
        raise NotInModelError(
            f"{model.title} observes its counts by a {type(counts).__name__}: this needs a "
            "JointDistribution"
        )
    return counts
