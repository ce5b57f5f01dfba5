"""Peak memory of reading TCGA's table, on a made file of its form.

    python benchmarks/tcga_memory.py [--samples 2000] [--genes 60498] [--folder DIR]

The file is made first (two minutes, about 300 MB), then read in a process of its own that reports
the most memory it ever had: all genes, then (from the ``.h5ad`` that the first has left) the 5,000
of the highest deviance. The totals of the samples are compared with what was written.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vae4counts.data import load_tcga_pancancer_rna_seq
from vae4counts.data.tcga import PHENOTYPES, RNA_SEQ

QUARTERS = 4  # expected counts are made in quarters
LARGEST = 10_000  # four decimals of the logarithm give counts up to here back exactly


def make(folder: Path, n_samples: int, n_genes: int) -> np.ndarray:
    """Writes the hub's two files and returns the total of each sample's rounded counts."""
    random = np.random.default_rng(0)
    samples = [f"TCGA-{number:06}-01" for number in range(n_samples)]
    rounded = np.rint(np.arange(QUARTERS * LARGEST + 1) / QUARTERS).astype(np.int64)
    texts = [f"{value:.4f}" for value in np.log2(np.arange(QUARTERS * LARGEST + 1) / QUARTERS + 1)]
    depth = random.lognormal(sigma=0.4, size=n_samples)
    totals = np.zeros(n_samples, dtype=np.int64)
    n_nonzero = 0
    with gzip.open(folder / RNA_SEQ.name, "wt", compresslevel=1) as file:
        file.write("\t".join(["sample", *samples]) + "\n")
        for gene in range(n_genes):
            rate = np.exp(random.uniform(-6, 7)) * depth * random.gamma(0.7, 1.4, n_samples)
            quarters = QUARTERS * random.poisson(rate)
            quarters += (quarters > 0) & (random.random(n_samples) < 0.3)
            np.minimum(quarters, QUARTERS * LARGEST, out=quarters)
            totals += rounded[quarters]
            n_nonzero += np.count_nonzero(quarters)
            row = "\t".join([texts[quarter] for quarter in quarters.tolist()])
            file.write(f"ENSG{gene:011}.1\t{row}\n")
    with gzip.open(folder / PHENOTYPES.name, "wt") as file:
        file.write("sample\tsample_type_id\tsample_type\t_primary_disease\n")
        file.writelines(f"{name}\t1\tPrimary Tumor\tmade\n" for name in samples)
    size = (folder / RNA_SEQ.name).stat().st_size
    share = n_nonzero / (n_samples * n_genes)
    print(f"made {n_samples:,} x {n_genes:,}, {share:.0%} not zero, {size / 1e6:,.0f} MB")
    return totals


def measure(folder: Path, top: int | None) -> dict[str, object]:
    """Reads the files here and now; the peak is of this whole process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    adata = load_tcga_pancancer_rna_seq(folder, top, offline=True)
    return {
        "seconds": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux: kB
        "imports_mb": before / 1000,
        "shape": adata.shape,
        "totals": np.asarray(adata.X.sum(1)).ravel().tolist(),
    }


def main() -> None:
    """Makes the file, and prints a line for each way of reading it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=60498)
    parser.add_argument("--folder", type=Path, help="where to make the file; kept")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.folder, arguments.measure or None)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        totals = make(folder, arguments.samples, arguments.genes)
        for top in (0, 5000):
            command = [sys.executable, __file__, "--folder", str(folder), "--measure", str(top)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
            result = json.loads(output)
            if not top and result["totals"] != totals.tolist():
                raise SystemExit("the totals of the samples are not those that were written")
            print(
                f"{result['shape'][1]:,} genes: peak {result['peak_mb']:,.0f} MB "
                f"({result['imports_mb']:,.0f} MB of it imports), {result['seconds']:.0f} s"
            )


if __name__ == "__main__":
    main()
