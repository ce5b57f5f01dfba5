"""From files to sparse batches."""

from vae4counts.data.batch import Batch
from vae4counts.data.builtin import load_digits, load_pbmc68k_reduced
from vae4counts.data.coco import read_coco_instances, read_coco_table
from vae4counts.data.coco2017 import load_coco2017_captions, load_coco2017_object_counts
from vae4counts.data.columns import find_column
from vae4counts.data.counts import CountMatrix
from vae4counts.data.datasets import DATASETS, DataSet
from vae4counts.data.disk import CountFile, Counts, counts_of
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.features import FEATURE_SCORES, frequent_features, top_features
from vae4counts.data.load import load
from vae4counts.data.loader import CountLoader
from vae4counts.data.modalities import add_modality
from vae4counts.data.pbmc68k import load_pbmc68k
from vae4counts.data.share import Part, Share
from vae4counts.data.split import Split, grouped_split, random_split
from vae4counts.data.stored import is_on_disk
from vae4counts.data.tcga import load_tcga_pancancer_rna_seq
from vae4counts.data.tcga_omics import (
    load_tcga_pancancer_methylation,
    load_tcga_pancancer_mirna,
    load_tcga_pancancer_multi_omics,
)

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
    "Part",
    "Share",
    "Split",
    "UnknownName",
    "add_modality",
    "counts_of",
    "find_column",
    "frequent_features",
    "grouped_split",
    "is_on_disk",
    "load",
    "load_coco2017_captions",
    "load_coco2017_object_counts",
    "load_digits",
    "load_pbmc68k",
    "load_pbmc68k_reduced",
    "load_tcga_pancancer_methylation",
    "load_tcga_pancancer_mirna",
    "load_tcga_pancancer_multi_omics",
    "load_tcga_pancancer_rna_seq",
    "random_split",
    "read_coco_instances",
    "read_coco_table",
    "top_features",
]
