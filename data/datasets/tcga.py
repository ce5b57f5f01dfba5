"""TCGA pan-cancer RNA-seq: UCSC Xena's expected counts, and the phenotypes of the samples."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch
from vae4counts.data.datasets.joining import warn_of_unmatched
from vae4counts.data.datasets.transposition import STRIPE_SIZE, TransposedCounts
from vae4counts.data.errors import DataError
from vae4counts.data.readers.as_anndata import unique_names
from vae4counts.data.readers.records import read_records
from vae4counts.data.readers.xena import read_blocks, read_samples
from vae4counts.data.readers.xena_file import expected_counts
from vae4counts.data.warning import warn

FOLDER = "tcga-pancancer"
ATLAS_URL = "https://tcga-pancan-atlas-hub.s3.us-east-1.amazonaws.com/download"
RNA_SEQ = RemoteFile(
    name="tcga_gene_expected_count.gz",
    url="https://toil-xena-hub.s3.us-east-1.amazonaws.com/download/tcga_gene_expected_count.gz",
)
PHENOTYPES = RemoteFile(
    name="TCGA_phenotype_denseDataOnlyDownload.tsv.gz",
    url=f"{ATLAS_URL}/TCGA_phenotype_denseDataOnlyDownload.tsv.gz",
)
CACHE = "tcga-pancancer-rna-seq.h5ad"

# The range where four decimals of a logarithm still tell a whole number from a fraction, and 0
# from 1.
_PRECISE_RANGE = (0.5, 1000.0)
_MIN_FRACTION = 0.05
_MAX_SHARE_FRACTIONAL = 0.85  # chance gives 0.9


def load_tcga_pancancer_rna_seq(
    directory: str | Path | None = None,
    top_features: int | None = None,
    *,
    offline: bool | None = None,
) -> AnnData:
    r"""Load the gene counts of TCGA's tumours, 10,535 samples x 60,498 genes.

    Xena's table holds :math:`y = \log_2(e + 1)` with four decimals, where :math:`e` is RSEM's
    *expected* count: the reads that may come from a gene, each weighted by the probability that
    it does. It is fractional where reads fit several genes, so that the counts here,
    :math:`\mathrm{round}(2^y - 1)`, are whole numbers of expected reads, not of observed ones.
    Four decimals determine counts up to about 14,000; larger ones are right to 1 in 29,000.

    The table is read in blocks of genes, and the result is kept in the directory as
    ``tcga-pancancer-rna-seq.h5ad`` (making it takes a temporary file of 4 bytes for each value
    there). It is made again when one of Xena's files is newer.

    Args:
        directory: Where Xena's files ``tcga_gene_expected_count.gz`` and
            ``TCGA_phenotype_denseDataOnlyDownload.tsv.gz`` are, or are downloaded to; by default
            a folder of the cache.
        top_features: Number of genes to keep, those with the highest deviance (see
            `top_features`), without having all of them in memory; all genes by default.
        offline: Whether to avoid the network; see `fetch`.

    Returns:
        Samples x genes, int32 in CSR. ``obs`` has the columns of the phenotypes, without the
        leading underscore: ``primary_disease``, ``sample_type``, ...; ``var`` has ``deviance``;
        ``uns["rounding"]`` has the share of counts that were fractional.

    Raises:
        DataError: A file is missing or broken, or a value is not such a logarithm; names the
            line.
        ValueError: ``top_features`` is below 1.

    Warns:
        UserWarning: Samples have no phenotype (they are kept), or so many values are fractional
            that they can hardly be expected counts.
    """
    if top_features is not None and top_features < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {top_features}")
    folder = data_directory(FOLDER, directory)
    cache = folder / CACHE
    if not is_up_to_date(cache, [folder / RNA_SEQ.name, folder / PHENOTYPES.name]):
        table = fetch(RNA_SEQ, folder, offline=offline)
        _make_cache(table, fetch(PHENOTYPES, folder, offline=offline), cache)
    adata = _read_cache(cache, top_features)
    unknown = adata.obs_names[adata.obs["primary_disease"].isna()]
    warn_of_unmatched(unknown, adata.n_obs, "no primary disease in the phenotypes")
    share = float(adata.uns["rounding"]["share_fractional"])
    if share > _MAX_SHARE_FRACTIONAL:
        low, high = _PRECISE_RANGE
        warn(
            f"{share:.0%} of the values from {low:g} to {high:g} are fractional: "
            "are they expected counts, or are they normalised?"
        )
    return adata


def is_up_to_date(made: Path, sources: list[Path]) -> bool:
    """Tell whether a file exists and is no older than those of its sources that exist."""
    return made.exists() and all(
        source.stat().st_mtime_ns <= made.stat().st_mtime_ns
        for source in sources
        if source.exists()
    )


def read_phenotypes(path: Path, samples: list[str]) -> pd.DataFrame:
    """Return the phenotypes of each sample, with NaN for a sample that has none."""
    table = read_records(path, "sample", ["sample_type", "_primary_disease"])
    table = table.rename(columns=lambda name: name.removeprefix("_"))
    return table.reindex(pd.Index(samples, name=None)).astype("category")


def _make_cache(table: Path, phenotypes: Path, cache: Path) -> None:
    samples = read_samples(table)
    obs = read_phenotypes(phenotypes, samples)
    n_precise = n_fractional = 0
    with (
        tempfile.TemporaryFile(dir=cache.parent) as file,
        tempfile.TemporaryDirectory(prefix=".tcga-", dir=cache.parent) as staging,
    ):
        counts = TransposedCounts(file, len(samples))
        for block in read_blocks(table):
            expected = expected_counts(block, table, samples)
            rounded = np.rint(expected).astype(np.int32)
            precise = (expected >= _PRECISE_RANGE[0]) & (expected < _PRECISE_RANGE[1])
            n_precise += int(precise.sum())
            n_fractional += int((precise & (np.abs(expected - rounded) > _MIN_FRACTION)).sum())
            counts.append(block.features, rounded)
        if not counts.features:
            raise DataError(f"{table} has a header, but no genes.")
        var = pd.DataFrame({"deviance": counts.deviance()}, unique_names(counts.features))
        rounding = {"share_fractional": n_fractional / max(n_precise, 1)}
        whole = Path(staging) / cache.name
        AnnData(obs=obs, var=var, uns={"rounding": rounding}).write_h5ad(whole)
        counts.write_csr(whole)
        whole.replace(cache)


def _read_cache(cache: Path, top: int | None) -> AnnData:
    if top is None:
        return anndata.read_h5ad(cache)
    backed = anndata.read_h5ad(cache, backed="r")
    try:
        order = np.argsort(-backed.var["deviance"].to_numpy(), kind="stable")
        kept = np.sort(order[:top])
        stripes = [
            backed.X[start : start + STRIPE_SIZE][:, kept]
            for start in range(0, backed.n_obs, STRIPE_SIZE)
        ]
        counts = sp.csr_matrix(sp.vstack(stripes))
        return AnnData(counts, backed.obs.copy(), backed.var.iloc[kept].copy(), dict(backed.uns))
    finally:
        backed.file.close()
