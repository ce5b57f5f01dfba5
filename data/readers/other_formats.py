"""Formats that are not read: what they are, and the one step to one that is."""

from __future__ import annotations

from pathlib import Path

from vae4counts.data.readers.compression import bare_name

_BY_PANDAS = (
    "in Python, pass pandas.{}({!r}) to fit, or write it with .to_csv (observations as rows)"
)
_IN_R = (
    "in R, write it with zellkonverter::writeH5AD (a Seurat object through "
    "as.SingleCellExperiment), or a matrix with write.csv"
)
_BY_NUMPY = "in Python, pass what {}({!r}) gives to fit (observations as rows)"
_COUNT = "count them first, with Cell Ranger, STARsolo or featureCounts, say"

# Ends of names: what such a file is, and what to do with it (filled in with its name).
_OTHERS: dict[tuple[str, ...], tuple[str, str]] = {
    (".xlsx", ".xls", ".ods"): ("a spreadsheet", "save the sheet of counts as .csv"),
    (".parquet",): ("a Parquet table", _BY_PANDAS.format("read_parquet", "{}")),
    (".feather", ".arrow"): ("an Arrow table", _BY_PANDAS.format("read_feather", "{}")),
    (".npy",): ("a NumPy array", _BY_NUMPY.format("numpy.load", "{}")),
    (".npz",): ("SciPy's or NumPy's archive", _BY_NUMPY.format("scipy.sparse.load_npz", "{}")),
    (".rds", ".rda", ".rdata", ".robj", ".qs"): ("R's own format", _IN_R),
    (".h5seurat",): ("Seurat's HDF5", _IN_R),
    (".biom",): ("a BIOM table", "biom convert -i {} -o table.tsv --to-tsv"),
    (".bam", ".sam", ".cram", ".fastq", ".fq", ".fasta"): ("reads, not counts", _COUNT),
    (".mat",): ("a MATLAB file", "in Python, pass the matrix of scipy.io.loadmat({!r}) to fit"),
}


def step_to_readable(path: Path) -> str | None:
    """Return what a file of a known other format is and what to do, or None."""
    name = bare_name(path)
    for ends, (title, step) in _OTHERS.items():
        if name.endswith(ends):
            return f"{path} is {title}, which is not read: {step.format(str(path))}."
    return None
