"""Rows that counting programs add to a table: reads that belong to no feature."""

from __future__ import annotations

import re

from anndata import AnnData

from vae4counts.data.warning import warn

# Of HTSeq, of STAR and of featureCounts.
_COUNTER = re.compile(
    r"__(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)(\[.*\])?"
    r"|N_(unmapped|multimapping|noFeature|ambiguous)|(no_feature|not_aligned|too_low_aQual"
    r"|alignment_not_unique)|Unassigned_\w+|\*",
)


def is_counter(name: str) -> bool:
    """Tell whether a name is that of a counter, not of a feature: ``__no_feature``."""
    return _COUNTER.fullmatch(name) is not None


def without_counters(adata: AnnData, source: object) -> AnnData:
    """Return the data without the columns that count reads of no feature.

    Warns:
        UserWarning: There are some; names them.
    """
    counters = [name for name in adata.var_names if is_counter(name)]
    if not counters:
        return adata
    warn(
        f"{source}: {', '.join(counters)} {'are' if len(counters) > 1 else 'is'} left out: reads "
        "that belong to no feature."
    )
    return adata[:, ~adata.var_names.isin(counters)]
