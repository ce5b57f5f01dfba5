"""The processors that a process may use: those it is bound to, and what a container allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vae4counts.data import cpus
from vae4counts.data.cpus import available_cpus, cpu_quota

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


@pytest.mark.parametrize(("quota", "bound", "expected"), [(None, 3, 3), (0.5, 3, 0.5), (4, 3, 3)])
def test_the_tighter_of_binding_and_quota_counts(
    quota: float | None, bound: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    assert available_cpus() == expected
