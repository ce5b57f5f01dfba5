"""Where refined posteriors change answers: the same questions by the guide and refined.

    python benchmarks/answers.py FILE[:LABEL]... [--seed 0] [--out FOLDER]

Each file is fitted by default, or its run is taken from the folder that `posteriors.py` kept it in,
and asked about the observations that training has not seen. The table has

- the share of them that belong to another component, and the agreement (ARI) of the two groupings;
- the width of the posteriors: the standard deviation of a latent by the guide over the refined one,
  the median over observations and latents;
- differential expression between the two largest classes (components where there is no label): the
  features that are called by the guide, refined, and by both; the correlation of their log2 fold
  changes;
- denoised rates: the median over features of the correlation over observations;
- predictive checks of the posterior's replicates: how many of them are below p = 0.05.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from posteriors import fitted
from sklearn.metrics import adjusted_rand_score
from tables import report

from vae4counts.data import load
from vae4counts.inference import RunOnData, keep_freed_memory

CALLED = "is_de_fdr_0.05"


def two_largest(classes: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return which observations are of the two largest classes."""
    names = classes.value_counts().index[:2]
    return (classes == names[0]).to_numpy(), (classes == names[1]).to_numpy()


def widths(on: RunOnData, *, refine: bool) -> np.ndarray:
    """Return standard deviations of the latents, shape ``(n, L)``."""
    draws = on.posterior(200, sites=["z"], refine=refine)["posterior"]["z"]
    return draws.std(("chain", "draw")).to_numpy()


def measure(path: str, label: str | None, seed: int, out: Path | None) -> dict[str, Any]:
    """Ask a run about its held-out observations, by both."""
    run = fitted(path, label, seed, out)
    adata = load(path)
    on = run.on(adata[run.on(adata).held_out].copy(), label=label)
    asked = {refine: on.interpret(refine=refine) for refine in (False, True)}
    belongs = {refine: on.summary(refine=refine)[1].argmax(1) for refine in asked}
    classes = pd.Series(belongs[True] if on.classes is None else on.classes)
    one, other = two_largest(classes)
    tables = {
        refine: view.differential_expression(idx1=one, idx2=other) for refine, view in asked.items()
    }
    called = {refine: set(table.index[table[CALLED]]) for refine, table in tables.items()}
    folds = pd.DataFrame({refine: table["lfc_mean"] for refine, table in tables.items()})
    rates = {refine: view.denoised(num_samples=20).to_numpy() for refine, view in asked.items()}
    centred = {refine: value - value.mean(0) for refine, value in rates.items()}
    norms = np.linalg.norm(centred[False], axis=0) * np.linalg.norm(centred[True], axis=0)
    alike = (centred[False] * centred[True]).sum(0) / np.maximum(norms, 1e-12)
    spread = {refine: widths(on, refine=refine) for refine in asked}
    checks = {
        refine: (on.check(100, "posterior", refine=refine).table["p_value"] < 0.05).sum()
        for refine in asked
    }
    return {
        "data": Path(path).stem,
        "other component": float((belongs[False] != belongs[True]).mean()),
        "ARI of the two": adjusted_rand_score(belongs[False], belongs[True]),
        "width, guide / refined": float(np.median(spread[False] / spread[True])),
        "called by guide": len(called[False]),
        "called refined": len(called[True]),
        "called by both": len(called[False] & called[True]),
        "correlation of folds": float(folds.corr().iloc[0, 1]),
        "correlation of rates": float(np.median(alike)),
        "checks below 0.05": f"{checks[False]} / {checks[True]}",
    }


def main() -> None:
    """Fit, ask and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="FILE or FILE:LABEL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    rows = []
    for file in arguments.files:
        path, _, label = file.partition(":")
        rows.append(measure(path, label or None, arguments.seed, arguments.out))
        print(rows[-1], flush=True)
    report("answers", rows)


if __name__ == "__main__":
    main()
