"""Tables that a person downloads from UCSC Xena: logarithms of counts, features x samples."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import bare_name
from vae4counts.data.readers.xena import Block, read_blocks, read_samples
from vae4counts.data.warning import warn

# Names that Xena gives to tables of log2(count + 1), with or without a project before them.
_COUNTS = re.compile(r".*(htseq_counts|star_counts|gene_expected_count)(\.tsv)?")
_MAX_LOGARITHM = 31  # of a count of 32 bits


def is_xena_counts(path: Path) -> bool:
    """Tell whether a file is called like one of Xena's tables of counts."""
    return path.is_file() and _COUNTS.fullmatch(bare_name(path)) is not None


def read_xena_counts(path: Path) -> AnnData:
    """Read one of Xena's tables of log2(count + 1), and undo the logarithm.

    Args:
        path: Tab-separated; its header names the samples, and its first column the features.

    Returns:
        Samples x features, whole numbers.

    Raises:
        DataError: The file is broken, or a value is not such a logarithm; names the line.

    Warns:
        UserWarning: The logarithm was undone.
    """
    samples, features, blocks = read_samples(path), [], []
    for block in read_blocks(path):
        features += block.features
        blocks.append(sp.csc_matrix(np.rint(expected_counts(block, path, samples)).T))
    if not blocks:
        raise DataError(f"{path} has a header, but no features.")
    warn(
        f"{path} holds log2(count + 1) of features x samples, by its name: the counts are "
        "restored and rounded. Give the file another name to read it as it is."
    )
    var = pd.DataFrame(index=features)
    return as_anndata(sp.hstack(blocks), pd.DataFrame(index=samples), var)


def expected_counts(block: Block, path: Path, samples: list[str]) -> np.ndarray:
    """Undo log2(count + 1) in a block.

    Raises:
        DataError: A value is not such a logarithm; names the line.
    """
    faulty = ~((block.numbers >= 0) & (block.numbers < _MAX_LOGARITHM))
    if faulty.any():
        row, column = np.argwhere(faulty)[0]
        raise DataError(
            f"{path}, line {block.lines[row]}: {block.numbers[row, column]} of sample "
            f"{samples[column]} is not log2(expected count + 1)."
        )
    return np.exp2(block.numbers) - 1
