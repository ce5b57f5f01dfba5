"""What else is set on a machine changes no fit, and costs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from vae4counts.inference.parallel.processes import Processes, make_fabric

CLUSTERS = {
    "slurm": {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
        "SLURM_NODEID": "1",
        "SLURM_NODELIST": "node[1-2]",
    },
    "lsf": {
        "LSB_JOBID": "1",
        "LSB_DJOB_RANKFILE": "nowhere",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_SIZE": "2",
        "JSM_NAMESPACE_RANK": "1",
    },
    "mpi": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1"},
    "leftovers of torch": {
        "WORLD_SIZE": "2",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "nowhere",
        "MASTER_PORT": "1",
    },
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in CLUSTERS[name].items():
        monkeypatch.setenv(key, value)
    fabric = make_fabric("cpu", "32-true")
    assert (fabric.world_size, fabric.is_global_zero, Processes.here()) == (1, True, Processes())


def test_srun_on_the_path_is_no_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert make_fabric("cpu", "32-true").world_size == 1  # warnings are errors here


@pytest.mark.slow
def test_everything_at_once(run: Callable[..., Result], counts_file: Path, tmp_path: Path) -> None:
    odd = {
        **{key: value for cluster in CLUSTERS.values() for key, value in cluster.items()},
        "HOME": "/nonexistent",
        "XDG_CACHE_HOME": "/proc/nowhere",
        "MPLCONFIGDIR": "/proc/nowhere",
        "NUMBA_CACHE_DIR": "/proc/nowhere",
        "MPLBACKEND": "nonsense",
        "PYTHONWARNINGS": "error,ignore::ResourceWarning",
        "COLUMNS": "3",
        "TERM": "nonsense",
        "LC_ALL": "xx_YY",
        "CUDA_VISIBLE_DEVICES": "7",
    }
    words = ["fit", str(counts_file), "--epochs", "2", "--components", "3", "--latents", "2"]
    assert run(*words, "--out", tmp_path / "plain").exit_code == 0
    done = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-m", "vae4counts", *words, "--out", str(tmp_path / "odd")],
        capture_output=True,
        text=True,
        env={**os.environ, **odd},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    metrics = [
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "odd")
    ]
    for each in metrics:
        del each["seconds"], each["observations_per_second"]
    assert metrics[0] == metrics[1]
    assert {path.name for path in (tmp_path / "odd").iterdir()} == {
        path.name for path in (tmp_path / "plain").iterdir()
    }
