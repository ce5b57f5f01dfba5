"""Threads are as many as a container allows, and sleep while they wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vae4counts.inference.parallel import cpus
from vae4counts.inference.parallel.cpus import use_fewer_threads


@pytest.mark.parametrize(("available", "threads"), [(8, None), (0.5, "1"), (1.9, "1")])
def test_threads_are_no_more_than_the_quota(
    available: float, threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "available_cpus", lambda: available)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    found: dict[str, str] = {}
    use_fewer_threads(found)
    assert found.get("OMP_NUM_THREADS") == threads
    assert found["GOMP_SPINCOUNT"] == "0"


def test_what_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "available_cpus", lambda: 0.5)
    given = {"OMP_NUM_THREADS": "7", "GOMP_SPINCOUNT": "9", "OMP_WAIT_POLICY": "ACTIVE"}
    found = dict(given)
    use_fewer_threads(found)
    assert found == given


def test_torch_is_not_loaded_before_the_command_line_has_set_them() -> None:
    code = (
        "import os, sys\n"
        "from vae4counts.inference.cli import main\n"
        "sys.argv = ['vae4counts', '--help']\n"
        "try: main()\n"
        "except SystemExit: print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    free = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    shown = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=free
    ).stdout
    assert shown.splitlines()[-1] == "False 0"
