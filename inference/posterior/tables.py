"""The table that a question is about which only models of one table can answer."""

from __future__ import annotations

from vae4counts.inference.posterior.draws import require_counts
from vae4counts.models import Model, NotInModelError


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
