"""The table of counts that predictive checks and summaries are about."""

from __future__ import annotations

from vae4counts.inference.posterior.draws import require_counts
from vae4counts.models import Model, NotInModelError


def count_table(model: Model) -> str:
    """Return the name of a model's only table, which is also that of the site that observes it.

    Raises:
        NotInModelError: The model has several tables.
        ValueError: The table does not hold counts.
    """
    require_counts(model)
    if len(model.tables) != 1:
        raise NotInModelError(
            f"{model.title} has {len(model.tables)} tables ({', '.join(model.tables)}): this is "
            "for models of one"
        )
    return model.tables[0]
