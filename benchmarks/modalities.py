"""Several tables in one model, beside models of one table and models made for one question.

    python benchmarks/modalities.py FOLDER [--tasks captions oaks omics cells] [--seeds 3]

FOLDER has the data of the tasks: ``coco2017-val-counts.csv`` and ``coco_captions_val2017.json.gz``,
``oaks.h5ad``, ``tcga_breast_mixomics_log.h5ad``, ``citeseq_pbmc10k.h5ad`` and ``..5k.h5ad``. All
contenders see the same split; a seed makes the split, the parameters and the order. Ours train by
their defaults. Log-likelihoods are nats per held-out observation, those of a multinomial with its
coefficient. Each fit adds its record to ``results/modalities.jsonl``, and a fit that has a record
is not repeated: after a change of code, remove its records first. TOTALVI needs scvi-tools.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import modality_captions
import modality_cells
import modality_small
import pandas as pd
import torch
from anndata import AnnData
from modality_scores import Scores
from tables import RESULTS, report

RECORDS = RESULTS / "modalities.jsonl"


@dataclass(frozen=True)
class Task:
    """Data and who says something about them.

    Attributes:
        read: Loads the data from a folder, with the split of a seed.
        contenders: What fits them by a seed and returns its scores.
    """

    read: Callable[[Path, int], AnnData]
    contenders: dict[str, Callable[[AnnData, int], Scores]]


TASKS = {
    "captions": Task(modality_captions.read, modality_captions.CONTENDERS),
    "oaks": Task(modality_small.read_oaks, modality_small.OAKS_CONTENDERS),
    "omics": Task(modality_small.read_omics, modality_small.OMICS_CONTENDERS),
    "cells": Task(modality_cells.read, modality_cells.CONTENDERS),
}


def records() -> list[dict[str, object]]:
    """Return the records so far."""
    lines = RECORDS.read_text().splitlines() if RECORDS.exists() else []
    return [json.loads(line) for line in lines]


def run(name: str, folder: Path, seed: int, contenders: list[str] | None) -> None:
    """Fit the contenders of a task that have no record yet."""
    done = {(r["task"], r["contender"], r["seed"]) for r in records()}
    task = TASKS[name]
    left = [
        contender
        for contender in task.contenders
        if (name, contender, seed) not in done and contender in (contenders or task.contenders)
    ]
    if not left:
        return
    adata = task.read(folder, seed)
    for contender in left:
        torch.manual_seed(seed)
        key = {"task": name, "contender": contender, "seed": seed}
        scores = task.contenders[contender](adata, seed)
        row = key | {score: float(value) for score, value in scores.items()}
        with RECORDS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def show(name: str) -> None:
    """Print the table of a task, and write it to its file."""
    found = pd.DataFrame([row for row in records() if row["task"] == name])
    if found.empty:
        return
    found = found.drop(columns=["task", "seed"]).dropna(axis=1, how="all")
    groups = found.groupby("contender", sort=False)
    means, spreads, sizes = groups.mean(), groups.std(), groups.size()
    rows = [
        {"contender": contender, "seeds": int(sizes[contender])}
        | {
            score: "" if pd.isna(value) else f"{value:,.3f} ± {spreads.loc[contender, score]:.3f}"
            for score, value in row.items()
        }
        for contender, row in means.iterrows()
    ]
    report(f"modalities-{name}", rows)


def main() -> None:
    """Run the benchmark and print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--contenders", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(asked.seeds):
        for name in asked.tasks:
            run(name, asked.folder, seed, asked.contenders)
    for name in asked.tasks:
        show(name)


if __name__ == "__main__":
    main()
