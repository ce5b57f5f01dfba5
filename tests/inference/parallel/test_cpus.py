"""Threads are as many as a container allows, and sleep while they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vae4counts.inference.parallel import cpus
from vae4counts.inference.parallel.cpus import cpu_quota, use_fewer_threads

SECOND = "0::/jobs/mine\n"
FIRST = "4:memory:/jobs/mine\n3:cpu,cpuacct:/jobs/mine\n"


def quota_of(folder: Path, own: str, files: dict[str, str]) -> float | None:
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cpu_quota(folder / "groups", folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (SECOND, {}, None),
        (SECOND, {"jobs/mine/cpu.max": "max 100000\n"}, None),
        (SECOND, {"jobs/mine/cpu.max": "150000 100000\n"}, 1.5),
        (SECOND, {"jobs/mine/cpu.max": "max 100000\n", "jobs/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        (SECOND, {"cpu.max": "nonsense"}, None),
        (
            FIRST,
            {
                "cpu,cpuacct/jobs/cpu.cfs_quota_us": "200000\n",
                "cpu,cpuacct/jobs/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            FIRST,
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "memory/cpu.max": "100000 100000\n",
            },
            None,
        ),
    ],
)
def test_the_smallest_quota_counts(
    own: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    assert quota_of(tmp_path, own, files) == expected


def test_there_are_systems_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "threads"), [(None, None), (0.5, "1"), (1.9, "1"), (9e9, None)])
def test_threads_are_no_more_than_the_quota(
    quota: float | None, threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    found: dict[str, str] = {}
    use_fewer_threads(found)
    assert found.get("OMP_NUM_THREADS") == threads
    assert found["GOMP_SPINCOUNT"] == "0"


def test_what_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: 0.5)
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
