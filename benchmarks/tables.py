"""Write results: Markdown on the screen, JSON in a file, with the machine they were taken on."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Describe the machine that the figures were taken on."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}, {date.today()}"
    )


def markdown(rows: list[dict[str, object]]) -> str:
    """Return a table of rows that have the same keys."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[_shown(value) for value in row.values()] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def report(name: str, rows: list[dict[str, object]]) -> None:
    """Print a table, and write it with the machine to ``results/NAME.json``."""
    print(f"\n{machine()}\n\n{markdown(rows)}\n", flush=True)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": rows}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
