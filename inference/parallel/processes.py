"""Several processes that share one fit: how they are started, and what they exchange.

torchrun starts them, on one machine or several, and each runs the whole script or command. Or
`fit(..., compute=Compute(devices=N))` starts them from one Python process, as torchrun would, for
the training alone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vae4counts.data import Share
from vae4counts.data.cpus import available_cpus
from vae4counts.inference.parallel.memory import keep_freed_memory, settled_objects

Result = TypeVar("Result")
# How long a process waits for the others before it gives up: longer than any of them reads,
# clusters or writes alone. A process that has died is noticed at once.
TIMEOUT = timedelta(minutes=10)
GUARD_ADVICE = (
    "it could not start; a script that asks for several devices has to call fit below "
    "if __name__ == '__main__':"
)
NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class ProcessError(RuntimeError):
    """One of the processes that share a fit has ended too early."""


@dataclass(frozen=True)
class Processes:
    """The processes that share a fit, seen from one of them; by default it is alone.

    Every process has to make the same calls in the same order.

    Attributes:
        rank: The number of this process, from 0. Only the first writes and prints.
        number: The number of processes.
    """

    rank: int = 0
    number: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Return the processes that torchrun or `launch` has started; else this one alone."""
        environment = TorchElasticEnvironment()
        return cls(environment.global_rank(), environment.world_size()) if started_here() else cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """What this process takes of every batch."""
        return Share(self.rank, self.number)

    def sum(self, own: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.number == 1:
            return own
        total = own.clone()
        torch.distributed.all_reduce(total)
        return total

    def add_gradients(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Give every process the gradient of the whole loss, the sum of those of its parts.

        Args:
            module: The module whose parameters hold the gradients. A parameter without one counts
                as zero: a handler may leave it out of a step in some of the processes.
            loss: This process's part of the loss.

        Returns:
            The whole loss.
        """
        if self.number == 1:
            return loss
        parameters = [each for each in module.parameters() if each.requires_grad]
        gradients = [
            torch.zeros_like(each) if each.grad is None else each.grad for each in parameters
        ]
        parts = [loss, *gradients]
        # one message takes less time than many
        total = self.sum(torch.cat([part.flatten() for part in parts]))
        whole, *pieces = total.split([part.numel() for part in parts])
        for each, piece in zip(parameters, pieces, strict=True):
            each.grad = piece.view_as(each)
        return whole[0]

    def agree(self, module: nn.Module) -> None:
        """Copy the parameters and buffers of the first process to all of them."""
        if self.number > 1:
            for tensor in module.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)

    def highest(self, own: int, device: torch.device) -> int:
        """Return the highest of the numbers that the processes have."""
        if self.number == 1:
            return own
        number = torch.tensor(own, device=device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)

    def gather(self, index: Tensor, own: Tensor, size: int) -> Tensor:
        """Return all rows in order, of which each process has some.

        Args:
            index: Positions of this process's rows, shape ``(n,)``; every position below ``size``
                belongs to exactly one process.
            own: This process's rows, shape ``(n, ...)``.
            size: Number of all rows.

        Returns:
            Shape ``(size, ...)``.
        """
        whole = own.new_zeros(size, *own.shape[1:])
        # every other process adds zero
        return self.sum(whole.index_copy_(0, index, own))


def started_here() -> int | None:
    """Return how many processes torchrun or `launch` has started on this machine, or None."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if TorchElasticEnvironment.detect() else None


def launch(devices: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in one process for each device: in this one, if one is enough.

    Under torchrun every process calls this, and so the function. Otherwise, for more than one
    device, new processes are started by Python's "spawn": the arguments are copied to them (only
    tensors outside of modules are shared), and a script needs its ``if __name__ == "__main__":``.

    Args:
        devices: Number of processes; ignored under torchrun.
        function: A function of a module, which calls `make_fabric`.
        arguments: Its arguments.

    Returns:
        What the function returned; of several new processes, in the first of them.

    Raises:
        ProcessError: The new processes could not import what is to be trained; or one of them has
            raised an error, or was killed.
    """
    if devices == 1 or started_here() is not None:
        return function(*arguments)
    check_importable(*arguments)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id="vae4counts",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        with _own_signals():
            results = elastic_launch(config, _in_process)(function, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        last = str(failure.message).strip().splitlines()[-1]
        if last.startswith("To enable traceback"):  # it has not come as far as to our function
            last = GUARD_ADVICE
        raise ProcessError(f"process {rank} of {devices} has ended: {last}") from error
    return results[0]


def check_importable(*arguments: Any) -> None:
    """Make sure that new processes find the classes of the modules among the arguments.

    Raises:
        ProcessError: They do not: a class was typed in, or the program was.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None and not Path(file).exists():
        raise ProcessError(
            f"new processes cannot import {file}: put the program in a file, or leave devices at 1"
        )
    own = {
        type(part).__name__
        for each in arguments
        if isinstance(each, nn.Module)
        for part in each.modules()
        if type(part).__module__ == "__main__"
    }
    if own and file is None:
        raise ProcessError(
            f"new processes cannot import {', '.join(sorted(own))}, which this notebook or prompt "
            "defines: put it in a module and import it from there, or leave devices at 1"
        )


def make_fabric(accelerator: str, precision: Literal["32-true", "bf16-mixed"]) -> Fabric:
    """Join the other processes, if there are any, and take one of the devices.

    Args:
        accelerator: "cpu" or "cuda".
        precision: "32-true", or "bf16-mixed" with networks in bfloat16.
    """
    here, number = started_here() or 1, Processes.here().number
    if number == 1:
        return Fabric(
            accelerator=accelerator,
            devices=1,
            precision=precision,
            # named, or Fabric would look for SLURM, LSF and MPI, and believe their variables
            plugins=[LightningEnvironment()],
        )
    torch.set_num_threads(max(1, min(torch.get_num_threads(), int(available_cpus()) // here)))
    fabric = Fabric(
        accelerator=accelerator,
        devices=here,
        num_nodes=number // here,
        strategy=_Unwrapped(timeout=TIMEOUT),
        precision=precision,
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    return fabric


class _Unwrapped(DDPStrategy):
    """A strategy that leaves modules as they are, for `Processes.add_gradients`.

    torch's wrapper sends gradients while it computes others, which gains nothing for networks of
    this size. It also fails where a process has no gradient for some parameter in some step, or
    else warns that it has looked for one.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        """Return the module."""
        return module


def _in_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a new process, with copies of the parameters."""
    keep_freed_memory()
    for module in (each for each in arguments if isinstance(each, nn.Module)):
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = tensor.data.clone()  # what comes from another process is shared
    with settled_objects():
        return function(*arguments)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the signal handlers that starting processes replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
