"""The data sets that are known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anndata import AnnData

from vae4counts.data.builtin import load_digits, load_pbmc68k_reduced


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a person should know of a data set before loading it.

    Attributes:
        title: What was counted, in a line.
        shape: Numbers of observations and of features.
        source: Where it comes from.
        licence: Terms of the data.
        loader: Loads it.
    """

    title: str
    shape: tuple[int, int]
    source: str
    licence: str
    loader: Callable[[], AnnData]


DATASETS: dict[str, DataSet] = {
    "digits": DataSet(
        title="Ink in the pixels of handwritten digits",
        shape=(1797, 64),
        source="UCI Optical Recognition of Handwritten Digits, shipped with scikit-learn",
        licence="CC BY 4.0",
        loader=load_digits,
    ),
    "pbmc68k-reduced": DataSet(
        title="Transcripts of variable genes in blood cells of 10 types",
        shape=(700, 765),
        source="10x Genomics, Fresh 68k PBMCs (Donor A), subsample shipped with scanpy",
        licence="CC BY 4.0",
        loader=load_pbmc68k_reduced,
    ),
}
