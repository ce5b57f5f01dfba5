"""Training compared with scvi-tools' SCVI and with the matrix products alone, in one run.

    python benchmarks/throughput.py [--data FILE.h5ad] [--only WORD] [--repeats 3] [--epochs 4]

All train on the same arrays in turn, several times; medians are reported. Peak memory is that of
a process that reads the counts from a file and trains two epochs on them (Linux only).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
from anndata import AnnData
from contenders import TRAINING, Result, floor, ours, scvi
from made import made_counts
from peak import peak_megabytes
from tables import report

from vae4counts.data import load

PRECISIONS = {"float32": "32-true", "bfloat16 products": "bf16-mixed"}


def rows(
    name: str, adata: AnnData, batch_size: int, epochs: int, repeats: int
) -> list[dict[str, object]]:
    """Return the rows of one data set and batch size, one for each precision."""
    contenders: dict[str, Callable[[], Result]] = {
        "SCVI": lambda: scvi(adata, batch_size, epochs),
        "torch's floor": lambda: floor(adata, batch_size),
    }
    for said, precision in PRECISIONS.items():
        contenders[said] = lambda p=precision: ours(adata, batch_size, epochs, p)
        contenders[f"floor, {said}"] = lambda p=precision: floor(adata, batch_size, p)
    results: dict[str, list[Result]] = {each: [] for each in contenders}
    for _ in range(repeats):
        for each, train in contenders.items():
            results[each].append(train())
    speed = {each: statistics.median(r.speed for r in of) for each, of in results.items()}
    elbo = {each: statistics.median(r.elbo for r in of) for each, of in results.items()}
    peak = peaks(adata, batch_size)
    return [
        {
            "data": name,
            "batch": batch_size,
            "precision": said,
            "s an epoch": TRAINING * adata.n_obs / speed[said],
            "obs/s": speed[said],
            "SCVI obs/s": speed["SCVI"],
            "times SCVI": speed[said] / speed["SCVI"],
            "times torch's floor": speed["torch's floor"] / speed[said],
            "times its own floor": speed[f"floor, {said}"] / speed[said],
            "peak MB": peak[said],
            "SCVI peak MB": peak["SCVI"],
            "ELBO": f"{elbo[said]:.2f}",
            "SCVI ELBO": f"{elbo['SCVI']:.2f}",
        }
        for said in PRECISIONS
    ]


def peaks(adata: AnnData, batch_size: int) -> dict[str, int]:
    """Return the peak resident memory of each contender's own process, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.h5ad"
        adata.write_h5ad(path)
        command = [sys.executable, __file__, "--batch-size", str(batch_size), "--peak-of"]
        return {
            each: int(subprocess.check_output([*command, each, "--data", path]).split()[-1])  # noqa: S603
            for each in ("SCVI", *PRECISIONS)
        }


def peak_of(contender: str, path: str, batch_size: int) -> int:
    """Train for two epochs, and return this process's peak memory in MB."""
    adata = anndata.read_h5ad(path)
    if contender == "SCVI":
        scvi(adata, batch_size, epochs=2)
    else:
        ours(adata, batch_size, epochs=2, precision=PRECISIONS[contender])
    return peak_megabytes()


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a real data set, in addition to the made ones")
    parser.add_argument("--only", default="", help="part of a case's name: 'batch 512'")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128, help="for --data")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.peak_of:
        print(peak_of(arguments.peak_of, arguments.data, arguments.batch_size))
        return
    cases: list[tuple[str, Callable[[], AnnData], int]] = [
        ("20,000 x 4,096, 8 %", lambda: made_counts(20_000, 4_096, 0.08), size)
        for size in (128, 512)
    ]
    cases.append(("6,000 x 32,738, 3 %", lambda: made_counts(6_000, 32_738, 0.03), 128))
    if path := arguments.data:
        cases.append((Path(path).stem, lambda: load(path), arguments.batch_size))
    table = [
        row
        for name, data, batch_size in cases
        if arguments.only in f"{name}, batch {batch_size}"
        for row in rows(name, data(), batch_size, arguments.epochs, arguments.repeats)
    ]
    report("throughput", table)


if __name__ == "__main__":
    main()
