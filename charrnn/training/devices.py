"""Where the learning happens: one CPU, one GPU, or several processes of either.

S: streams, cut among the processes   R: a process's streams
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from charrnn.errors import ConfigError


@dataclass(frozen=True)
class ProcessGroup:
    """One process among ``world_size``; alone it is 0 of 1, and nothing here costs anything."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and saves."""
        return self.rank == 0

    def local_streams(self, streams: int) -> slice:
        """This process's part of S streams. Raises ConfigError when they cannot be shared out evenly."""
        if streams % self.world_size:
            raise ConfigError(
                f"--streams {streams}: it must be a multiple of the {self.world_size} processes"
            )
        share = streams // self.world_size
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, part: Tensor) -> Tensor:
        """(R, ...) of each process -> (S, ...) on all."""
        if self.world_size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.world_size)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, element by element."""
        if self.world_size > 1:
            distributed.all_reduce(values)
            values /= self.world_size
        return values

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Each flag, raised where any process raises it: so that all do the same."""
        if self.world_size == 1:
            return list(flags)
        raised = torch.tensor(list(flags), dtype=torch.int32, device=self.device)
        distributed.all_reduce(raised)
        return [bool(flag) for flag in raised.tolist()]

    def broadcast(self, value: float) -> float:
        """The leader's value, on all."""
        if self.world_size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(told, 0)
        return float(told)


def join(name: str = "auto") -> ProcessGroup:
    """This process's place: alone, or in the group that torchrun announces. Raises ConfigError."""
    keep_memory()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return ProcessGroup(select_device(name))
    local = int(os.environ["LOCAL_RANK"])
    device = select_device(name)
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return ProcessGroup(device, distributed.get_rank(), distributed.get_world_size())


def barrier() -> None:
    """Wait until all processes are here.

    One that leaves while another still talks to it is, now and then, aborted by torch's threads.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def shutdown() -> None:
    """Leave the group, where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def keep_memory() -> None:
    """Let glibc keep freed tensors' memory instead of handing it back to the system at every step.

    Else each large tensor is a mapping of its own, and page faults take a large share of a step
    (benchmarks/RESULTS.md). Where there is another C library nothing happens.
    """
    mmap_threshold, trim_threshold = -3, -1
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, 2**31 - 1)


def select_device(name: str = "auto") -> torch.device:
    """ "auto" takes a GPU where there is one. Raises ConfigError for a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"--device {name}: it must be auto, cpu, cuda (cuda:1, ...) or mps")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used here: {reason}") from error
    return device


def precision(device: torch.device, wanted: str = "auto") -> torch.dtype | None:
    """The recurrent kernel's type, None for the weights' own float32.

    For "auto" bfloat16 where the device has instructions for it. A function of the machine
    alone, not of a timing, so that a run can be repeated bit for bit.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else None
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # AMX adds its tile products to AVX-512's; both are what oneDNN looks for.
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    else:
        fast = False
    return torch.bfloat16 if fast else None


def describe(group: ProcessGroup) -> str:
    """The device as a person knows it."""
    device = group.device
    if device.type == "cuda":
        shown = f"{torch.cuda.get_device_name(device)} ({device})"
    elif device.type == "cpu":
        shown = f"cpu, {torch.get_num_threads()} threads"
    else:
        shown = str(device)
    return shown if group.world_size == 1 else f"{group.world_size} processes, each {shown}"
