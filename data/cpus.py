"""How many processors this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cpus() -> float:
    """Return how many processors' time this process may use: those it may run on, or its quota."""
    able = getattr(os, "sched_getaffinity", None)  # Linux only
    count = len(able(0)) if able else os.cpu_count() or 1
    return min(count, cpu_quota() or count)


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """Return how many processors' time a container may use; None for all.

    Args:
        cgroups: Where Linux shows its control groups.
        own: The file that names those of this process.
    """
    return min(_quotas(cgroups, own), default=None)


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Yield the quotas of the groups of this process and of those around them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers
        inner = root / path.strip("/")
        for group in (inner, *inner.parents):
            if group.is_relative_to(root):
                yield from _quota_of(group)


def _quota_of(group: Path) -> Iterator[float]:
    """Yield a group's quota, if it has one: by version 2 of control groups, or 1."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)
