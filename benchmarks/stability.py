"""Whether stable components are real: stability against purity, over components of many data sets.

    python benchmarks/stability.py FILE:LABEL... --runs FOLDER [--seeds 3]

FOLDER holds default fits of the files, as ``benchmarks/posteriors.py --out FOLDER`` makes them. The
purity of a component is the share of its commonest label. Two figures should predict it: its
stability when latents are resampled, and its agreement with the component that it became with
other seeds, in the mean. The table has Spearman's rank correlations with purity, for each data set
over the components of all seeds, and over all together.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr
from tables import report

from vae4counts.data import load
from vae4counts.inference import Run, compare_components
from vae4counts.inference.interpretation.components import by_label

NO_LABEL = {"unassigned", "unknown", "nan"}
# Components of fewer labelled observations have no purity to speak of.
FEWEST = 10


def components(file: str, folder: Path, seeds: int) -> pd.DataFrame:
    """Return purity, stability and agreement of all components of a file's fits."""
    path, _, label = file.rpartition(":")
    adata, stem = load(path), Path(path).stem
    runs = {str(seed): Run.load(folder / f"{stem}-{seed}") for seed in range(seeds)}
    parts = []
    for name, run in runs.items():
        on = run.on(adata, label=label)
        labels = on.adata.obs[label].astype(str)
        labels = labels.where(~labels.str.lower().isin(NO_LABEL))
        counts = by_label(labels, on.summary()[1].argmax(1))
        found = on.interpretation.component_table().join(
            (counts.max() / counts.sum()).rename("purity")
        )
        found["labelled"] = counts.sum().reindex(found.index, fill_value=0)
        others = {name: run, **{other: each for other, each in runs.items() if other != name}}
        if len(others) > 1:
            agreement = compare_components(others, adata).groupby("component")["agreement"].mean()
            found["agreement"] = agreement
        parts.append(found[found["labelled"] >= FEWEST].assign(data=stem, seed=name))
    return pd.concat(parts)


def correlations(name: str, found: pd.DataFrame) -> dict[str, object]:
    """Return a row of the table."""
    row: dict[str, object] = {"data": name, "components": len(found)}
    row["purity"] = round(found["purity"].mean(), 2)
    for column in ("stability", "agreement"):
        if column in found:
            row[f"mean {column}"] = round(found[column].mean(), 2)
            row[f"{column} and purity"] = round(spearmanr(found[column], found["purity"])[0], 2)
    return row


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE:LABEL")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = [components(file, arguments.runs, arguments.seeds) for file in arguments.files]
    rows = [correlations(part["data"].iloc[0], part) for part in parts]
    rows.append(correlations("all", pd.concat(parts)))
    report("stability", rows)


if __name__ == "__main__":
    main()
