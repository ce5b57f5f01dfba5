"""From files to sparse batches."""

from vae4counts.data.batch import Batch
from vae4counts.data.builtin import load_digits, load_pbmc68k_reduced
from vae4counts.data.coco import load_coco2017_object_counts
from vae4counts.data.columns import find_column
from vae4counts.data.counts import CountMatrix
from vae4counts.data.datasets import DATASETS, DataSet
from vae4counts.data.disk import CountFile, Counts, counts_of
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.features import FEATURE_SCORES, frequent_features, top_features
from vae4counts.data.load import load
from vae4counts.data.loader import CountLoader
from vae4counts.data.split import Split, grouped_split, random_split
from vae4counts.data.stored import is_on_disk

__all__ = [
    "DATASETS",
    "FEATURE_SCORES",
    "Batch",
    "CountFile",
    "CountLoader",
    "CountMatrix",
    "Counts",
    "DataError",
    "DataSet",
    "Split",
    "UnknownName",
    "counts_of",
    "find_column",
    "frequent_features",
    "grouped_split",
    "is_on_disk",
    "load",
    "load_coco2017_object_counts",
    "load_digits",
    "load_pbmc68k_reduced",
    "random_split",
    "top_features",
]
