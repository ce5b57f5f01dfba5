"""TCGA pan-cancer RNA-seq: UCSC Xena's expected counts, and what is known of the samples."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.counts.features import deviance
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.errors import DataError
from vae4counts.data.modalities import report_unmatched
from vae4counts.data.readers.annotated import unique_names
from vae4counts.data.readers.text import read_records
from vae4counts.data.readers.xena import Block, read_blocks, read_samples

FOLDER = "tcga-pancancer"
ATLAS_HUB = "https://tcga-pancan-atlas-hub.s3.us-east-1.amazonaws.com/download"
RNA_SEQ = RemoteFile(
    name="tcga_gene_expected_count.gz",
    url="https://toil-xena-hub.s3.us-east-1.amazonaws.com/download/tcga_gene_expected_count.gz",
)
PHENOTYPES = RemoteFile(
    name="TCGA_phenotype_denseDataOnlyDownload.tsv.gz",
    url=f"{ATLAS_HUB}/TCGA_phenotype_denseDataOnlyDownload.tsv.gz",
)
CACHE = "tcga-pancancer-rna-seq.h5ad"

_STRIPE = 256  # samples written or cut at a time
# Where four decimals of a logarithm still tell a whole number from a fraction, and 0 from 1.
_TELLING = (0.5, 1000.0)
_FRACTION = 0.05
_MOSTLY_FRACTIONS = 0.85  # chance gives 0.9


def load_tcga_pancancer_rna_seq(
    directory: str | Path | None = None,
    top_features: int | None = None,
    *,
    offline: bool | None = None,
) -> AnnData:
    r"""Loads the gene counts of TCGA's tumours, 10,535 samples x 60,498 genes.

    The hub's table holds :math:`y = \log_2(e + 1)` with four decimals, where :math:`e` is RSEM's
    *expected* count: the reads that a gene may have had, each weighted by how likely it was its
    own. It is fractional where reads fit several genes, so that the counts here,
    :math:`\mathrm{round}(2^y - 1)`, are whole numbers of expected reads, not reads counted. Four
    decimals fix counts up to about 14,000; above, they are right to 1 in 29,000.

    The table is read in blocks of genes, and the result is kept in the directory as
    ``tcga-pancancer-rna-seq.h5ad`` (on the way, a file of 4 bytes a value is needed there). It
    is made anew when one of the hub's files is newer.

    Args:
        directory: Where the hub's files ``tcga_gene_expected_count.gz`` and
            ``TCGA_phenotype_denseDataOnlyDownload.tsv.gz`` are, or go when they are downloaded;
            by default a folder of the cache.
        top_features: Keep only so many genes, those of the highest deviance (`top_features`);
            the others are then never in memory together.
        offline: Whether to go without the network; see `fetch`.

    Returns:
        Samples x genes, int32 in CSR. ``obs`` has the columns of the phenotypes, without the
        underscore in front: ``primary_disease``, ``sample_type`` ...; ``var`` has ``deviance``;
        ``uns["rounding"]`` says how many counts were fractional.

    Raises:
        DataError: If a file cannot be had or is broken, or a value is no such logarithm; names
            the line.
        ValueError: If ``top_features`` is below 1.

    Warns:
        UserWarning: If samples have no phenotype (they are kept), or so many values are
            fractional that they can hardly be expected counts.
    """
    if top_features is not None and top_features < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {top_features}")
    folder = data_directory(FOLDER, directory)
    cache = folder / CACHE
    if not is_fresh(cache, [folder / RNA_SEQ.name, folder / PHENOTYPES.name]):
        table = fetch(RNA_SEQ, folder, offline=offline)
        _make_cache(table, fetch(PHENOTYPES, folder, offline=offline), cache)
    adata = _read_cache(cache, top_features)
    unknown = adata.obs_names[adata.obs["primary_disease"].isna()]
    report_unmatched(unknown, adata.n_obs, "no primary disease in the phenotypes")
    share = float(adata.uns["rounding"]["share_fractional"])
    if share > _MOSTLY_FRACTIONS:
        warnings.warn(
            f"{share:.0%} of the values from {_TELLING[0]:g} to {_TELLING[1]:g} are fractional: "
            "are they expected counts, or are they normalised?",
            stacklevel=2,
        )
    return adata


def is_fresh(made: Path, sources: list[Path]) -> bool:
    """Whether a file is there and no older than those of its sources that are still there."""
    return made.exists() and all(
        source.stat().st_mtime_ns <= made.stat().st_mtime_ns
        for source in sources
        if source.exists()
    )


def read_phenotypes(path: Path, samples: list[str]) -> pd.DataFrame:
    """Gives each sample its row of the phenotypes; empty where it has none."""
    table = read_records(path, "sample", ["sample_type", "_primary_disease"])
    table = table.rename(columns=lambda name: name.removeprefix("_"))
    return table.reindex(pd.Index(samples, name=None)).astype("category")


def _make_cache(table: Path, phenotypes: Path, cache: Path) -> None:
    samples = read_samples(table)
    obs = read_phenotypes(phenotypes, samples)
    with (
        tempfile.TemporaryFile(dir=cache.parent) as file,
        tempfile.TemporaryDirectory(prefix=".tcga-", dir=cache.parent) as staging,
    ):
        counts = _Transposed(file, len(samples))
        for block in read_blocks(table):
            counts.append(block, table, samples)
        if not counts.features:
            raise DataError(f"{table} has a header, but no genes.")
        var = pd.DataFrame({"deviance": counts.deviance()}, unique_names(counts.features))
        whole = Path(staging) / cache.name
        AnnData(obs=obs, var=var, uns={"rounding": counts.rounding}).write_h5ad(whole)
        _write_csr(whole, counts)
        whole.replace(cache)


class _Transposed:
    """Counts that come by genes and go by samples, through a file in between.

    Args:
        file: Empty, open for reading and writing.
        n_samples: The number of samples ``N``.
    """

    def __init__(self, file: IO[bytes], n_samples: int) -> None:
        self._file = file
        self._widths: list[int] = []
        self._small = self._fractional = 0
        self.features: list[str] = []
        self.library = np.zeros(n_samples, dtype=np.int64)
        self.n_nonzero = np.zeros(n_samples, dtype=np.int64)

    @property
    def rounding(self) -> dict[str, float]:
        """How many of the values that can tell were fractional."""
        return {"share_fractional": self._fractional / max(self._small, 1)}

    def append(self, block: Block, path: Path, samples: list[str]) -> None:
        """Takes the next genes, as logarithms."""
        faulty = ~((block.numbers >= 0) & (block.numbers < 31))
        if faulty.any():
            row, column = np.argwhere(faulty)[0]
            raise DataError(
                f"{path}, line {block.lines[row]}: {block.numbers[row, column]} of sample "
                f"{samples[column]} is not log2(expected count + 1)."
            )
        expected = np.exp2(block.numbers) - 1
        counts = np.rint(expected).astype(np.int32)
        small = (expected >= _TELLING[0]) & (expected < _TELLING[1])
        self._small += int(small.sum())
        self._fractional += int((small & (np.abs(expected - counts) > _FRACTION)).sum())
        self.library += counts.sum(0, dtype=np.int64)
        self.n_nonzero += np.count_nonzero(counts, axis=0)
        self.features += block.features
        self._widths.append(len(block.features))
        np.ascontiguousarray(counts.T).tofile(self._file)

    def deviance(self) -> np.ndarray:
        """Gives the deviance of every gene, as `top_features` measures it."""
        return np.concatenate([self._deviance(block) for block in self._blocks(0, None)])

    def stripe(self, start: int, stop: int) -> sp.csr_matrix:
        """Gives all counts of some samples."""
        return sp.csr_matrix(np.hstack(list(self._blocks(start, stop))))

    def _blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Reads some samples of one block of genes after the other."""
        size = np.dtype(np.int32).itemsize
        n = len(self.library)
        before = 0
        for width in self._widths:
            self._file.seek((before * n + start * width) * size)
            rows = (n if stop is None else stop) - start
            yield np.fromfile(self._file, np.int32, rows * width).reshape(rows, width)
            before += width

    def _deviance(self, block: np.ndarray) -> np.ndarray:
        return deviance(CountMatrix.from_checked(sp.csr_matrix(block), self.library))


def _write_csr(path: Path, counts: _Transposed) -> None:
    """Adds ``X`` to an ``.h5ad`` file, a stripe of samples at a time."""
    indptr = np.concatenate([[0], np.cumsum(counts.n_nonzero)])
    n = len(counts.library)
    with h5py.File(path, "r+") as file:
        file.pop("X", None)  # some releases of anndata may write that there is none
        group = file.create_group("X")
        group.attrs["encoding-type"] = "csr_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = np.array([n, len(counts.features)], dtype=np.int64)
        # The type of both index arrays is one in SciPy: narrow where the counts allow it.
        kind = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
        group["indptr"] = indptr.astype(kind)
        data = group.create_dataset("data", (indptr[-1],), np.int32)
        indices = group.create_dataset("indices", (indptr[-1],), kind)
        for start in range(0, n, _STRIPE):
            stop = min(start + _STRIPE, n)
            stripe = counts.stripe(start, stop)
            data[indptr[start] : indptr[stop]] = stripe.data
            indices[indptr[start] : indptr[stop]] = stripe.indices


def _read_cache(cache: Path, top: int | None) -> AnnData:
    if top is None:
        return anndata.read_h5ad(cache)
    backed = anndata.read_h5ad(cache, backed="r")
    try:
        order = np.argsort(-backed.var["deviance"].to_numpy(), kind="stable")
        kept = np.sort(order[:top])
        stripes = [
            backed.X[start : start + _STRIPE][:, kept] for start in range(0, backed.n_obs, _STRIPE)
        ]
        counts = sp.csr_matrix(sp.vstack(stripes))
        return AnnData(counts, backed.obs.copy(), backed.var.iloc[kept].copy(), dict(backed.uns))
    finally:
        backed.file.close()
