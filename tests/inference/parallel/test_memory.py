import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Ten steps that each take and free 16 arrays of 4 MB, after one that made the heap grow.
SCRIPT = """
import resource, torch
from vae4counts.inference.parallel.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def step():
    return [torch.ones(1_000_000) for _ in range(16)]
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    command = [sys.executable, "-c", SCRIPT.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    assert page_faults(keep=True) < 0.1 * page_faults(keep=False)
