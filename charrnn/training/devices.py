"""The device that trains, and the process group when several processes do.

S: streams of all processes   R: streams of this process
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from charrnn.errors import CharrnnError, ConfigError

RANKS = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
NUMBERS = (*RANKS, "LOCAL_WORLD_SIZE", "MASTER_PORT")
VARIABLES = (*NUMBERS, "MASTER_ADDR")
"""The environment variables by which torchrun makes a process group: those that show that it did, the
numbers, and all."""


@dataclass(frozen=True)
class ProcessGroup:
    """A process's device and its rank. With a world size of 1 no method communicates."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which prints and saves."""
        return self.rank == 0

    def local_streams(self, streams: int) -> slice:
        """The process's part of S streams. Raises ConfigError unless S is a multiple of the world size."""
        if streams % self.world_size:
            raise ConfigError(f"--streams {streams}: must be a multiple of the {self.world_size} processes")
        count = streams // self.world_size
        return slice(self.rank * count, (self.rank + 1) * count)

    def gather(self, part: Tensor) -> Tensor:
        """(R, ...) of each process -> (S, ...) in every process."""
        if self.world_size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.world_size)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def mean(self, values: Tensor) -> Tensor:
        """The elementwise mean over all processes."""
        if self.world_size > 1:
            distributed.all_reduce(values)
            values /= self.world_size
        return values

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Whether each flag is set in any process, so that all processes decide alike."""
        if self.world_size == 1:
            return list(flags)
        counts = torch.tensor(list(flags), dtype=torch.int32, device=self.device)
        distributed.all_reduce(counts)
        return [bool(count) for count in counts.tolist()]

    def broadcast(self, value: float) -> float:
        """The main process's value, in every process."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(tensor, 0)
        return float(tensor)


def join(name: str = "auto") -> ProcessGroup:
    """Join the process group of torchrun, or else make one of a single process. Raises CharrnnError."""
    single = _is_single_process()
    keep_freed_memory()
    device = select_device(name)
    if single:
        return ProcessGroup(device)
    if device.type == "cuda":
        local_rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= count:
            raise CharrnnError(f"more processes than GPUs ({count}): torchrun --nproc-per-node {count} ...")
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return ProcessGroup(device, distributed.get_rank(), distributed.get_world_size())


def _is_single_process() -> bool:
    """Whether torchrun has started no other process. Raises CharrnnError for a part of its variables.

    With a part of them, torch would fail, or wait for processes that never come.
    """
    given = [name for name in RANKS if name in os.environ]
    if not given:
        return True
    start = "torchrun --nproc-per-node N -m charrnn train ... starts several processes"
    advice = f"{start}; for one process: unset {' '.join(given)}"
    for name in NUMBERS:
        if not re.fullmatch("[0-9]{1,9}", value := os.environ.get(name, "0")):
            raise CharrnnError(f"the variable {name} is {value!r}, which is no number: {advice}")
    size, rank = int(os.environ.get("WORLD_SIZE", "0")), int(os.environ.get("RANK", "0"))
    if size == 1 and rank == 0:
        return True
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise CharrnnError(f"the variable {given[0]} is set, but not {', '.join(missing)}: {advice}")
    if rank >= size:
        raise CharrnnError(f"the variable RANK is {rank}, but WORLD_SIZE is {size}: {advice}")
    return False


def connection_lost(error: Exception) -> bool:
    """Whether an error says that another process of the group does not answer any more.

    NCCL's error has a class of its own. That of gloo is told by its text, which names gloo's source file.
    """
    if not distributed.is_available():
        return False
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def barrier() -> None:
    """Wait for all processes of the group.

    Torch's threads sometimes abort a process that leaves while another still communicates with it.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def shutdown() -> None:
    """Leave the process group, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed tensors; other C libraries are left alone.

    Otherwise it returns large tensors' memory to the system at every step, and page faults take a
    large part of the time (benchmarks/RESULTS.md).
    """
    mmap_threshold, trim_threshold = -3, -1
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, 2**31 - 1)


def select_device(name: str = "auto") -> torch.device:
    """The device of a name; "auto" prefers a GPU. Raises ConfigError when it cannot be used."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here: {reason}; --device cpu always works"
        ) from error
    return device


def precision(device: torch.device, wanted: str = "auto") -> torch.dtype | None:
    """The dtype of the recurrent products; None means that of the weights, float32.

    "auto" means bfloat16 on devices with instructions for it. Timing decides nothing here, so that
    a run can be repeated bit for bit.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else None
    fast = False
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()  # oneDNN uses either of the two
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if fast else None


def describe(group: ProcessGroup) -> str:
    """The device's name for the user, and the number of processes."""
    device = group.device
    shown = str(device)
    if device.type == "cuda":
        shown = f"{torch.cuda.get_device_name(device)} ({device})"
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        shown = f"cpu, {threads} thread{'' if threads == 1 else 's'}"
    return shown if group.world_size == 1 else f"{group.world_size} processes, each {shown}"
