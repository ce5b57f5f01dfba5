"""How many threads compute, and how they wait: to be set before torch is loaded.

torch starts a thread for each processor, whatever a container's quota allows, and its threads spin
while they wait: next to another busy process, or beyond a quota, they keep each other from working.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from vae4counts.data.cpus import available_cpus


def use_fewer_threads(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads sleep while they wait, and take no more than a container's quota allows.

    What is set already stays.

    Args:
        environment: The variables of the process, changed in place.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("GOMP_SPINCOUNT", "0")  # of the OpenMP that torch brings
    cpus = available_cpus()
    if cpus < (os.cpu_count() or 1):
        environment.setdefault("OMP_NUM_THREADS", str(max(1, int(cpus))))
