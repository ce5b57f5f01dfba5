"""Loading and training from disk, beside memory, scvi-tools' loader and anndata's AnnCollection.

    python benchmarks/loading.py --observations 1000000 --json benchmarks/results/loading.json

It makes an ``.h5ad`` and a ``.zarr`` of N x 20,000 counts, 3 % of them non-zero, block by block, in
a temporary folder or in the one given by ``--folder`` (which keeps them for the next run). Each
measurement runs in its own process and reports speed and peak memory. "Loading" iterates over one
shuffled epoch and does nothing with the batches; "training" runs `fit` and counts observations per
second of training, without set-up and validation. Data in memory have at most 100,000
observations: the speed of a step does not depend on their number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from made import write_made
from peak import peak_megabytes

FEATURES, DENSITY, BATCH = 20_000, 0.03, 128
# Loading stops here: long enough to measure its speed.
SECONDS = 20.0
# Most observations of data that are measured in memory.
MAX_IN_MEMORY = 100_000


def load_ours(path: Path, out_of_core: bool) -> Iterator[int]:
    """Our loader, from memory or from disk."""
    from vae4counts.data import CountLoader, load

    loader = CountLoader(load(path, out_of_core=out_of_core), batch_size=BATCH)
    return (len(batch) for batch in loader)


def load_scvi(path: Path, backed: bool) -> Iterator[int]:
    """scvi-tools' loader, from memory or from a backed file."""
    import anndata
    import scvi

    adata = anndata.read_h5ad(path, backed="r" if backed else None)
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata)
    loader = scvi.dataloaders.AnnDataLoader(
        model.adata_manager, shuffle=True, batch_size=BATCH, iter_ndarray=False
    )
    return (len(batch["X"]) for batch in loader)


def load_collection(path: Path) -> Iterator[int]:
    """Anndata's AnnCollection over a backed file, with its own loader."""
    import anndata
    from anndata.experimental import AnnCollection, AnnLoader

    adata = anndata.read_h5ad(path, backed="r")
    collection = AnnCollection([adata], join_vars="inner")
    loader = AnnLoader(collection, batch_size=BATCH, shuffle=True)
    return (len(batch.X) for batch in loader)  # a batch is lazy: taking X reads it


LOADERS: dict[str, Callable[[Path], Iterator[int]]] = {
    "ours, in memory": partial(load_ours, out_of_core=False),
    "ours, .h5ad": partial(load_ours, out_of_core=True),
    "ours, .zarr": partial(load_ours, out_of_core=True),
    "scvi-tools, in memory": partial(load_scvi, backed=False),
    "scvi-tools, .h5ad": partial(load_scvi, backed=True),
    "AnnCollection, .h5ad": load_collection,
}
IN_MEMORY = {name for name in LOADERS if "memory" in name}


def loading(name: str, path: Path) -> dict[str, float]:
    """Return observations per second of iterating over batches, without the first few."""
    started = time.perf_counter()
    batches = LOADERS[name](path)
    sum(islice(batches, 3))
    opened, seen = time.perf_counter(), 0
    for size in batches:
        seen += size
        if time.perf_counter() - opened > SECONDS:
            break
    return {
        "opening (s)": opened - started,
        "loading (observations/s)": seen / (time.perf_counter() - opened),
    }


def training(name: str, path: Path) -> dict[str, float]:
    """Return observations per second of the median epoch, without set-up and validation."""
    import torch

    from vae4counts.data import load
    from vae4counts.guides import guide_for
    from vae4counts.inference import Schedule, fit, keep_freed_memory, settled_objects
    from vae4counts.models import VAE

    adata = load(path, out_of_core=name not in IN_MEMORY)
    epochs = max(1, min(5, 100_000 // adata.n_obs))
    torch.manual_seed(0)
    model = VAE(adata.n_vars)
    keep_freed_memory()
    with settled_objects():
        run = fit(
            model,
            guide_for(model),
            adata,
            epochs=epochs,
            batch_size=BATCH,
            progress=False,
            device="cpu",
            schedule=Schedule(warm_up_steps=0),
        )
    return {
        "fitting (s)": run.metrics["seconds"],
        "training (observations/s)": len(run.split.train) / run.history["seconds"].median(),
    }


TASKS = {"loading": loading, "training": training}


def measured(task: str, name: str, path: Path) -> dict[str, Any]:
    """Run a task in its own process; return its result, or the last line of its error."""
    command = [sys.executable, __file__, "--task", task, "--source", name]
    command += ["--path", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return {f"{task} failed": (done.stderr.strip() or "killed").splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def compare(folder: Path, n: int) -> list[dict[str, Any]]:
    """Make the stores, and run every measurement on them."""
    rows = []
    for name in LOADERS:
        size = min(n, MAX_IN_MEMORY) if name in IN_MEMORY else n
        path = folder / f"made-{size}{'.zarr' if 'zarr' in name else '.h5ad'}"
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            write_made(path, size, FEATURES, DENSITY)
        row: dict[str, Any] = {"from": name, "observations": size}
        for task in TASKS if name.startswith("ours") else ["loading"]:
            print(f"{task}: {name}", file=sys.stderr)
            row |= measured(task, name, path)
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [row.get(name, "") for name in names]
        texts = [f"{c:,.0f}" if isinstance(c, (int, float)) else c for c in cells]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="folder for the stores, which are kept")
    parser.add_argument("--json", type=Path)
    for internal in ("--task", "--source", "--path"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.task:
        found = TASKS[given.task](given.source, Path(given.path))
        print(json.dumps(found | {f"{given.task}, peak memory (MB)": peak_megabytes()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = compare(folder, given.observations)
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    print(f"\n{machine}; {FEATURES:,} features, {DENSITY:.0%} non-zero\n\n{table(rows)}")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
