"""Whether observations are rows, judging by their names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from itertools import islice

from anndata import AnnData

_BARCODE = re.compile(r"(.*[-_:#.])?[ACGT]{12,}([-_:.].*)?")
_GENE = re.compile(r"ENS[A-Z]{0,4}[GT]\d{11}(\.\d+)?([-_|].*)?")
# Names that are looked at.
N_SAMPLED_NAMES = 1000


def warn_if_transposed(adata: AnnData, source: object) -> None:
    """Warn if columns are named like cells, or rows like genes.

    Args:
        adata: The data.
        source: Where they were read from.

    Warns:
        UserWarning: Most of the features have cell barcodes as names, or most of the observations
            have Ensembl's names of genes.
    """
    for names, kind, axis in (
        (adata.var_names, _BARCODE, "columns are named like cells"),
        (adata.obs_names, _GENE, "rows are named like genes"),
    ):
        if _mostly(kind, names):
            warnings.warn(
                f"{source} looks like features x observations: its {axis} ({names[0]!r}). "
                "Observations should be rows: load the data, and write adata.T.",
                stacklevel=3,
            )
            return


def _mostly(kind: re.Pattern[str], names: Iterable[str]) -> bool:
    looked_at = [kind.fullmatch(name) is not None for name in islice(names, N_SAMPLED_NAMES)]
    return sum(looked_at) > len(looked_at) / 2
