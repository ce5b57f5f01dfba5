"""The data sets that are known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from anndata import AnnData

from vae4counts.data.datasets import coco2017, pbmc68k, tcga, tcga_omics
from vae4counts.data.datasets.builtin import load_digits, load_pbmc68k_reduced
from vae4counts.data.datasets.download import RemoteFile, data_directory


@dataclass(frozen=True, slots=True)
class DataSet:
    """What to know about a data set before loading it.

    Attributes:
        title: What was counted, in a line.
        shape: Numbers of observations and of features.
        source: Where it comes from.
        licence: Terms of the data.
        loader: Function that loads it, given whether to avoid the network (None: see `fetch`).
        folder: Where its files are kept, below the folder of all data.
        files: What is downloaded for it; empty if it ships with a package.
        modalities: Functions that load further tables of the same observations, by name, given
            whether to avoid the network.
    """

    title: str
    shape: tuple[int, int]
    source: str
    licence: str
    loader: Callable[[bool | None], AnnData]
    folder: str = ""
    files: tuple[RemoteFile, ...] = ()
    modalities: Mapping[str, Callable[[bool | None], AnnData]] = field(default_factory=dict)

    @property
    def size(self) -> int | None:
        """Bytes to download, of the files whose size is known; None if no size is known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if sizes or not self.files else None

    @property
    def is_here(self) -> bool:
        """Whether all of its files have been downloaded."""
        return all((data_directory(self.folder) / file.name).exists() for file in self.files)


_TCGA = (
    "TCGA Research Network by UCSC Xena's Toil hub; Vivian et al. 2017, "
    "https://doi.org/10.1038/nbt.3772"
)
_OPEN_ACCESS = "open access, NIH Genomic Data Sharing Policy"
_TCGA_MODALITIES: dict[str, Callable[[bool | None], AnnData]] = {
    "mirna": lambda offline: tcga_omics.load_tcga_pancancer_mirna(offline=offline),
    "methylation": lambda offline: tcga_omics.load_tcga_pancancer_methylation(offline=offline),
}
_COCO = "COCO Consortium, annotations of 2017, http://cocodataset.org"

DATASETS: dict[str, DataSet] = {
    "digits": DataSet(
        title="Ink in the pixels of handwritten digits",
        shape=(1797, 64),
        source="UCI Optical Recognition of Handwritten Digits, shipped with scikit-learn",
        licence="CC BY 4.0",
        loader=lambda _: load_digits(),
    ),
    "pbmc68k-reduced": DataSet(
        title="Transcripts of variable genes in blood cells of 10 types",
        shape=(700, 765),
        source="10x Genomics, Fresh 68k PBMCs (Donor A), subsample shipped with scanpy",
        licence="CC BY 4.0",
        loader=lambda _: load_pbmc68k_reduced(),
    ),
    "pbmc68k": DataSet(
        title="Transcripts in blood cells of 11 types",
        shape=(68579, 32738),
        source="10x Genomics, Fresh 68k PBMCs (Donor A); Zheng et al. 2017, "
        "https://doi.org/10.1038/ncomms14049",
        licence="CC BY 4.0 (counts); none stated (cell types)",
        loader=lambda offline: pbmc68k.load_pbmc68k(offline=offline),
        folder=pbmc68k.FOLDER,
        files=(pbmc68k.MATRIX, pbmc68k.CELL_TYPES),
    ),
    "tcga-pancancer": DataSet(
        title="RSEM's expected reads of genes in tumours (several GB of memory)",
        shape=(10535, 60498),
        source=_TCGA,
        licence=_OPEN_ACCESS,
        loader=lambda offline: tcga.load_tcga_pancancer_rna_seq(offline=offline),
        folder=tcga.FOLDER,
        files=(tcga.RNA_SEQ, tcga.PHENOTYPES),
        modalities=_TCGA_MODALITIES,
    ),
    "tcga-pancancer-top5000": DataSet(
        title="RSEM's expected reads in tumours, of the genes with the highest deviance",
        shape=(10535, 5000),
        source=_TCGA,
        licence=_OPEN_ACCESS,
        loader=lambda offline: tcga.load_tcga_pancancer_rna_seq(None, 5000, offline=offline),
        folder=tcga.FOLDER,
        files=(tcga.RNA_SEQ, tcga.PHENOTYPES),
        modalities=_TCGA_MODALITIES,
    ),
    "coco2017-train": DataSet(
        title="Objects of 80 categories in photographs, training set",
        shape=(118287, 80),
        source=_COCO,
        licence="CC BY 4.0",
        loader=lambda offline: coco2017.load_coco2017_object_counts("train", offline=offline),
        folder=coco2017.FOLDER,
        files=(coco2017.ANNOTATIONS,),
        modalities={
            "captions": lambda offline: coco2017.load_coco2017_captions("train", offline=offline)
        },
    ),
    "coco2017-val": DataSet(
        title="Objects of 80 categories in photographs, validation set",
        shape=(5000, 80),
        source=_COCO,
        licence="CC BY 4.0",
        loader=lambda offline: coco2017.load_coco2017_object_counts("val", offline=offline),
        folder=coco2017.FOLDER,
        files=(coco2017.ANNOTATIONS,),
        modalities={
            "captions": lambda offline: coco2017.load_coco2017_captions("val", offline=offline)
        },
    ),
}
