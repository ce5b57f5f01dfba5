"""Whether observations are rows, judging by the names of rows and columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.readers.counters import is_counter
from vae4counts.data.warning import warn

# Names that are looked at, evenly spaced.
N_SAMPLED_NAMES = 1000
# A table without telling names that is that much longer than wide may be sideways.
_MIN_ROWS, _MIN_RATIO = 500, 20

_HEADER = re.compile(
    r"(gene|feature|transcript|probe|peak|otu|asv|taxon|mirna|protein|target|tracking|ensembl"
    r"|entrez|hugo|refseq|uniprot)s?([ _.-]?(id|ids|name|names|symbol|symbols|gene_id))*"
    r"|symbols?|hgnc([ _.-]?(id|symbol))?",
    re.IGNORECASE,
)
_DESCRIPTION = re.compile(
    r"kingdom|phylum|(consensus[ _.-]?)?lineage|taxonomy|transcript_ids?(\(s\))?|cytoband"
    r"|chr(om(osome)?)?|seqnames?|start|end|strand|(gene_?|effective_?)?length"
    r"|gene_?(name|symbol|type|biotype|id|ids|description)|(gene_?)?symbol|(gene_?)?biotype"
    r"|description|feature_types?|entrez(gene)?([ _.-]?(gene[ _.-]?)?id)?|hugo_symbol",
    re.IGNORECASE,
)


def names_features(header: str | None) -> bool:
    """Tell whether the header of the column of names says that rows are features: ``Geneid``."""
    return header is not None and _HEADER.fullmatch(header) is not None


def describe_features(column: str) -> bool:
    """Tell whether a column describes features, such as ``Start``, ``Length`` or ``taxonomy``."""
    return _DESCRIPTION.fullmatch(column) is not None


@dataclass(frozen=True)
class Kind:
    """A way to name observations or features.

    Attributes:
        plural: What is named so.
        are_features: Whether these are features; observations otherwise.
        fits: Function from sampled names to whether they are such names.
    """

    plural: str
    are_features: bool
    fits: Callable[[list[str]], bool]


def _mostly(pattern: str) -> Callable[[list[str]], bool]:
    compiled = re.compile(pattern)
    return lambda names: sum(map(bool, map(compiled.fullmatch, names))) > len(names) / 2


# Families that are in every genome-wide table, and genes that are in most panels.
_KNOWN_SYMBOL = re.compile(
    r"RP[LS]\d+\w*|MT-\w+|HLA-\w+|CD\d+[A-Z]*|KRT\d+|IL\d+\w*|CX?C[LR]\d+|CXC[LR]\d+|COL\d+A\d"
    r"|ZNF\d+|SLC\d+A\d+|TMEM\d+\w*|FAM\d+[A-Z]\d*|LINC\d+|MIR\d+\w*|EEF\w+|HSP[ABD]\w+"
    r"|TUB[AB]\w+|S100A\d+|FCGR\d\w|MS4A\d+|TP53|BRCA[12]|EGFR|MYC|[KNH]RAS|PTEN|RB1|APC|ACTB|GAPDH"
    r"|B2M|MALAT1|VIM|LYZ|NKG7|GNLY|PPBP|PTPRC|GFAP|INS|GCG|ALB|APOE|CDH\d+|ESR1|ERBB2|FOXP3|MKI67"
    r"|GZM[ABKH]|TNF|IFNG|SOX\d+|PAX\d+|NOTCH\d|STAT\d\w?|JUN|FOS|VEGFA|EPCAM|XIST|HBA[12]|HBB",
    re.IGNORECASE,
)
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9]*([._@-][A-Za-z0-9]+)*|\d{7}[A-Z]\d{2}Rik")


def _are_symbols(names: list[str]) -> bool:
    known = sum(map(bool, map(_KNOWN_SYMBOL.fullmatch, names)))
    shaped = sum(map(bool, map(_SYMBOL.fullmatch, names)))
    return known >= max(2, 0.05 * len(names)) and shaped > len(names) / 2


KINDS = (
    Kind("cells", False, _mostly(r"(.*[-_:#.])?[ACGT]{12,}([-_:.].*)?")),
    Kind("samples of TCGA", False, _mostly(r"TCGA[-.]\w\w[-.]\w{4}([-.].*)?")),
    Kind(
        "samples",
        False,
        _mostly(
            r"(GSM|[SED]R[RSX]|SAM(N|EA|D)|GTEX-)[\w-]+|.*\.[bs]am|(?i:cell|sample|patient|donor"
            r"|spot|subject|image|obs)s?[ _.-]?\d+"
        ),
    ),
    Kind(
        "genes",
        True,
        _mostly(
            r"ENS[A-Z]{0,4}[GTP]\d{11}(\.\d+)?([-_|].*)?|[NX][MR]_\d+(\.\d+)?|FBgn\d{7}"
            r"|WBGene\d{8}|AT[1-5MC]G\d{5}|Y[A-P][LR]\d{3}[WC](-[A-Z])?|(?i:gene)[ _.-]?\d+"
        ),
    ),
    Kind("genes", True, _are_symbols),
    Kind(
        "features",
        True,
        _mostly(
            r"chr\w+[:_-]\d+[-_]\d+|[a-z]{3}-(mir|miR|let)-.*|cg\d{8}"
            r"|(?i:otu|asv|peak|feature|transcript|mirna|protein)[ _.-]?\d+|[kd]__\w+.*"
        ),
    ),
)


def _evidence(axis: str, table: pd.DataFrame, *, of_features: bool) -> list[str]:
    """Return what says that an axis of data is of features, or else of observations."""
    names = table.index
    places = np.linspace(0, len(names) - 1, min(len(names), N_SAMPLED_NAMES)).astype(int)
    sampled = [str(name) for name in names[places]]
    return [
        f"its {axis} are named like {kind.plural} ({sampled[0]!r})"
        for kind in KINDS
        if kind.are_features == of_features and sampled and kind.fits(sampled)
    ]


def _named_like(adata: AnnData, *, sideways: bool) -> list[str]:
    """Return what says that data are sideways, or upright, by the names of their axes."""
    columns = _evidence("columns", adata.var, of_features=not sideways)
    return columns + _evidence("rows", adata.obs, of_features=sideways)


def _described(adata: AnnData) -> Iterator[str]:
    """Yield what says that the rows of a table are features, besides their names."""
    if described := [name for name in adata.obs if describe_features(str(name))]:
        yield f"its rows have {', '.join(map(repr, described))}"
    if counters := [name for name in adata.obs_names if is_counter(name)]:
        yield f"its rows include {counters[0]!r}"
    if names_features(adata.obs_names.name):
        yield f"the names of its rows are called {adata.obs_names.name!r}"


def is_sideways(adata: AnnData, source: object) -> bool:
    """Tell whether the rows of a table are features, of a format that does not say.

    Args:
        adata: The table, as it is in its file.
        source: The file.

    Warns:
        UserWarning: They are; or they may be, because there are many more rows than columns and
            no names that tell, or because names contradict each other.
    """
    against = _named_like(adata, sideways=False)
    found = [*_named_like(adata, sideways=True), *_described(adata)]
    if found and not against:
        warn(
            f"{source} is read as features x observations, because {found[0]}. "
            "If its rows are observations, say so with --no-transpose (transpose=False)."
        )
        return True
    n, g = adata.shape
    is_long = n >= _MIN_ROWS and n > _MIN_RATIO * g and not against
    if found or is_long:
        reason = found[0] if found else f"it has {n:,} rows, but {g:,} columns"
        _warn(source, reason)
    return False


def warn_if_sideways(adata: AnnData, source: object) -> None:
    """Warn if the observations of data are named like features, or features like observations.

    Warns:
        UserWarning: They are.
    """
    found = _named_like(adata, sideways=True)
    if found and not _named_like(adata, sideways=False):
        _warn(source, found[0])


def _warn(source: object, reason: str) -> None:
    warn(
        f"{source} looks like features x observations: {reason}. Observations should be rows: if "
        "they are columns here, say so with --transpose (transpose=True)."
    )
