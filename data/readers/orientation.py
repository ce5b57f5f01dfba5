"""Whether observations are rows, as far as their names tell."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from itertools import islice

from anndata import AnnData

_BARCODE = re.compile(r"(.*[-_:#.])?[ACGT]{12,}([-_:.].*)?")
_GENE = re.compile(r"ENS[A-Z]{0,4}[GT]\d{11}(\.\d+)?([-_|].*)?")
# Names that are looked at.
ENOUGH = 1000


def warn_if_sideways(adata: AnnData, source: object) -> None:
    """Warns if columns are named like cells, or rows like genes.

    Args:
        adata: What was read.
        source: What it was read from.

    Warns:
        UserWarning: If most of the names of the features are barcodes of cells, or most of those
            of the observations Ensembl's of genes.
    """
    for names, kind, axis in (
        (adata.var_names, _BARCODE, "columns are named like cells"),
        (adata.obs_names, _GENE, "rows are named like genes"),
    ):
        if _mostly(kind, names):
            warnings.warn(
                f"{source} looks like features x observations: its {axis} ({names[0]!r}). "
                "Observations should be rows: load it, and write adata.T.",
                stacklevel=3,
            )
            return


def _mostly(kind: re.Pattern[str], names: Iterable[str]) -> bool:
    looked_at = [kind.fullmatch(name) is not None for name in islice(names, ENOUGH)]
    return sum(looked_at) > len(looked_at) / 2
