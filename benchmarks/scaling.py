"""How the cost of training grows with genes, cells and density, compared with scvi-tools' SCVI.

    python benchmarks/scaling.py [--repeats 3] [--only genes|cells|density]

It plots throughput against genes for both in ``examples/figures/throughput.png``.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from contenders import TRAINING, ours, scvi
from made import made_counts
from tables import machine, report

FIGURE = Path(__file__).parents[1] / "examples" / "figures" / "throughput.png"
GENES = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
CELLS = (2_500, 5_000, 10_000, 20_000, 40_000)
DENSITIES = (0.01, 0.03, 0.1, 0.3)
BATCH = 128


def row(what: str, n_obs: int, genes: int, density: float, repeats: int) -> dict[str, object]:
    """Return the medians for one size; the two train in turn."""
    adata = made_counts(n_obs, genes, density)
    pairs = [(ours(adata, BATCH, 3).speed, scvi(adata, BATCH, 3).speed) for _ in range(repeats)]
    speed, scvi_speed = map(statistics.median, zip(*pairs, strict=True))
    return {
        "grows": what,
        "cells": n_obs,
        "genes": genes,
        "non-zero": f"{adata.X.nnz / n_obs / genes:.1%}",
        "non-zeros a batch": int(BATCH * adata.X.nnz / n_obs),
        "ms a step": 1000 * BATCH / speed,
        "s an epoch": TRAINING * n_obs / speed,
        "obs/s": speed,
        "SCVI obs/s": scvi_speed,
        "times SCVI": speed / scvi_speed,
    }


def draw(rows: list[dict[str, object]]) -> None:
    """Plot throughput against genes."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for key, colour, label in (
        ("obs/s", "#0072B2", "vae4counts"),
        ("SCVI obs/s", "#D55E00", "scvi-tools SCVI"),
    ):
        axes.loglog([r["genes"] for r in rows], [r[key] for r in rows], "o-", color=colour)
        first = (rows[0]["genes"], rows[0][key])
        axes.annotate(label, first, (0, -26), textcoords="offset points", color=colour)
    axes.set(xlabel="genes", ylabel="training, cells a second", xticks=GENES)
    axes.set_xticklabels([f"{g // 1024}k" for g in GENES])
    axes.set_xticks([], minor=True)
    axes.set_title(f"Batch {BATCH}, 5 % non-zero, float32\n{machine()}", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, dpi=160)


def main() -> None:
    """Run the benchmark, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", choices=("genes", "cells", "density"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = [("genes", 2_560, genes, 0.05) for genes in GENES]
    sizes += [("cells", cells, 2_048, 0.05) for cells in CELLS]
    sizes += [("density", 2_560, 4_096, density) for density in DENSITIES]
    rows = [row(*size, arguments.repeats) for size in sizes if arguments.only in size[0]]
    report("scaling", rows)
    if genes := [each for each in rows if each["grows"] == "genes"]:
        draw(genes)


if __name__ == "__main__":
    main()
