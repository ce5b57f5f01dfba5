"""A fit of real size by the command line, from a file to results: 68,579 cells of 32,738 genes.

    python benchmarks/real_size.py [--out-of-core] [--observations 68579] [--features 32738]
                                   [--folder FOLDER] [-- further options of vae4counts fit]

It makes an ``.h5ad`` file of counts, 2 % of them non-zero, in 11 groups of very unequal size (the
largest 200 times as large as the smallest), block by block, in a temporary folder or in one that is
kept. ``vae4counts fit FILE --label group --components 11`` then runs in its own process, with a
clock around each of its stages. Printed are seconds by stage, the peak of its memory, the
observations that it trains in a second, and how well components agree with the groups.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from peak import peak_megabytes

DENSITY = 0.02
SIZES = [0.58**k for k in range(11)]
TIMED = {
    "reading": ("vae4counts.inference.cli.data_options", "DataOptions", "load"),
    "training": ("vae4counts.inference.fitting.loop", "TrainingLoop", "_train_epoch"),
    "validation": ("vae4counts.inference.fitting.loop", "TrainingLoop", "_validate"),
    "groups": ("vae4counts.models.vae", "VAE", "groups"),
    "diagnosis": ("vae4counts.inference.fitting.fit", None, "_diagnosis"),
    "evaluation": ("vae4counts.inference.run.on_data", "RunOnData", "evaluate"),
    "annotation": ("vae4counts.inference.run.on_data", "RunOnData", "annotate"),
    "figures": ("vae4counts.inference.cli.results", None, "draw_figures"),
    "writing": ("vae4counts.inference.cli.results", None, "write_h5ad"),
}
"""The stages: the module, class and function that each spends its time in."""


def clocked(
    spent: dict[str, float], peaks: dict[str, int], stage: str, function: Callable[..., Any]
) -> Any:
    """Return a function that adds the time of every call to a stage's, and notes the peak."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[stage] += time.perf_counter() - began
            peaks[stage] = peak_megabytes()

    return call


def run_clocked(arguments: list[str], result: Path) -> None:
    """Run the command with clocks around its stages, and write what they say."""
    began = time.time() - float(os.environ["BEGAN"])
    from importlib import import_module

    from vae4counts.inference.parallel.cpus import use_fewer_threads

    use_fewer_threads(os.environ)  # as the command does first, before torch is imported
    spent, peaks = dict.fromkeys(TIMED, 0.0), dict.fromkeys(TIMED, 0)
    for stage, (module, kind, name) in TIMED.items():
        place = import_module(module) if kind is None else getattr(import_module(module), kind)
        setattr(place, name, clocked(spent, peaks, stage, getattr(place, name)))
    from vae4counts.inference.cli import main

    sys.argv = ["vae4counts", *arguments]
    try:
        main()
    finally:
        spent = {"start of Python": began, **spent}
        result.write_text(json.dumps({"seconds": spent, "peaks": peaks, "peak": peak_megabytes()}))


def measure(data: Path, folder: Path, options: list[str]) -> list[dict[str, object]]:
    """Run the command on a file, and return a row for each stage and figure."""
    out, result = folder / "run", folder / "clocks.json"
    command = ["fit", str(data), "--label", "group", "--components", str(len(SIZES))]
    began = time.time()
    subprocess.run(  # noqa: S603 (our own command)
        [sys.executable, __file__, "--clocked", str(result), *command, "--out", str(out), *options],
        check=True,
        env=os.environ | {"BEGAN": str(began)},
    )
    whole = time.time() - began
    found = json.loads(result.read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    seconds = found["seconds"] | {"the rest": whole - sum(found["seconds"].values())}
    rows: list[dict[str, object]] = [
        {
            "what": name,
            "value": f"{value:,.1f} s",
            "peak so far": f"{peak:,} MB" if (peak := found["peaks"].get(name)) else "",
        }
        for name, value in seconds.items()
    ]
    figures = {
        "in all": f"{whole:,.1f} s",
        "peak memory": f"{found['peak']:,} MB",
        "epochs": metrics["epochs"],
        "observations a second in training": round(metrics["observations_per_second"]),
        "held-out ELBO": round(metrics["elbo"], 2),
        "held-out IW log-likelihood": round(metrics["iw_log_likelihood"], 2),
        "ARI of components": round(metrics["ari"], 3),
        "components used": metrics["components_used"],
    }
    return rows + [
        {"what": name, "value": value, "peak so far": ""} for name, value in figures.items()
    ]


def main() -> None:
    """Make the data, run the command, and print the table."""
    if sys.argv[1:2] == ["--clocked"]:
        run_clocked(sys.argv[3:], Path(sys.argv[2]))
        return
    from made import write_made
    from tables import report

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=68_579)
    parser.add_argument("--features", type=int, default=32_738)
    parser.add_argument("--out-of-core", action="store_true")
    parser.add_argument("--folder", type=Path, help="folder for the data, which are kept")
    parser.add_argument("options", nargs="*", help="further options of vae4counts fit")
    asked = parser.parse_args()
    n = asked.observations
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / f"made-{n}-{asked.features}.h5ad"
        if not data.exists():
            write_made(data, n, asked.features, DENSITY, sizes=SIZES)
        options = asked.options + ["--out-of-core"] * asked.out_of_core
        rows = measure(data, Path(temporary), options)
    where = "disk" if asked.out_of_core else "memory"
    print(f"{n:,} x {asked.features:,}, counts in {where}")
    report(f"real_size-{where}", rows)


if __name__ == "__main__":
    main()
