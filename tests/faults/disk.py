"""A disk whose n-th operation fails: the calls of Python that reach the file system, intercepted.

Reading through a memory map, and the reading of safetensors' own library, cannot be intercepted.
"""

from __future__ import annotations

import builtins
import errno
import io
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ERRORS = {"no space": errno.ENOSPC, "i/o error": errno.EIO, "not permitted": errno.EPERM}
"""The faults that are an error of one operation."""
NO_MEMORY = "no memory"
"""The fault of an operation for which Python finds no memory."""
TORN = {"torn write": errno.ENOSPC, "short write": None}
"""The faults of writes, of which half is written: then an error, or a number that says so."""
FULL = {"no space": math.inf, "torn write": 2}
"""The faults of a full disk: so many of the next writes fail too, and the making of files and folders."""
KILLS = ("kill", "kill in a write")
FAULTS = (*ERRORS, NO_MEMORY, *TORN, *KILLS)

CALLS = (
    "open", "mkdir", "rmdir", "replace", "rename", "unlink", "remove", "fsync", "chmod", "utime", "truncate",
    "ftruncate", "listdir", "scandir",
)  # fmt: skip
"""The functions of ``os`` that are operations. The first argument is a path or a descriptor."""

Record = Callable[[str, str, Any], None]
"""Called after each operation that succeeds: its name, its path, and what else it needs to be done again."""


class Disk:
    """Context manager: the operations on files below ``root`` are counted, and the ``at``-th one fails.

    at         counts from 1; 0: none fails
    fault      one of FAULTS; for those of writes, only writes count
    triggered  the operation that failed, "" before
    """

    def __init__(
        self, root: Path, at: int = 0, fault: str = "", record: Record = lambda operation, path, more: None
    ) -> None:
        self.root, self.at, self.fault, self.record = os.path.realpath(root), at, fault, record
        self.count, self.triggered, self.failures = 0, "", 0
        self._before: dict[Any, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        changed = {name: self._counted(getattr(os, name), name) for name in CALLS}
        for module, names in ((os, changed), (io, {"open": self._open}), (builtins, {"open": self._open})):
            self._before[module] = {name: getattr(module, name) for name in names}
            for name, function in names.items():
                setattr(module, name, function)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module, names in self._before.items():
            for name, function in names.items():
                setattr(module, name, function)

    def path_of(self, given: Any, folder: int | None = None) -> str | None:
        """The path of a file or a descriptor relative to the root; None outside it.

        ``folder`` is the descriptor of the folder that a name is relative to, if not to the current one.
        """
        if isinstance(given, int):
            try:
                path = os.readlink(f"/proc/self/fd/{given}")
            except OSError:
                return None
        else:
            name = os.fsdecode(given)
            start = "." if folder is None else f"/proc/self/fd/{folder}"
            place = os.path.realpath(os.path.join(start, os.path.dirname(name)))
            path = os.path.join(place, os.path.basename(name))
        return os.path.relpath(path, self.root) if f"{path}/".startswith(f"{self.root}/") else None

    def happen(self, operation: str, path: str, written: bool = False) -> str:
        """Count an operation; fail if it is its turn. Returns the fault that ``write`` has to carry out."""
        if written and self.triggered and self.failures < FULL.get(self.fault, 0):
            self.failures += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        torn = self.fault in TORN or self.fault == "kill in a write"
        if torn and operation != "write":
            return ""
        self.count += 1
        if self.count != self.at:
            return ""
        self.triggered = f"{operation} {path}"
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == NO_MEMORY:
            raise MemoryError
        if torn:
            return self.fault
        number = ERRORS[self.fault]
        raise OSError(number, os.strerror(number))

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def function(given: Any = ".", *arguments: Any, **more: Any) -> Any:
            path = self.path_of(given, more.get("dir_fd"))
            if path is None:
                return call(given, *arguments, **more)
            creates = name == "mkdir" or (
                name == "open" and bool(arguments) and bool(arguments[0] & os.O_CREAT)
            )
            try:
                self.happen(name, path, written=creates)
            except OSError as error:
                error.filename = given if isinstance(given, (str, bytes)) else None
                raise
            existed = os.path.lexists(os.path.join(self.root, path))
            result = call(given, *arguments, **more)
            if name == "open" and not existed:
                self.record("create", path, None)
            elif name in ("replace", "rename"):
                self.record("rename", path, self.path_of(arguments[0]))
            elif name in ("ftruncate", "truncate"):
                self.record("truncate", path, arguments[0])
            elif name in ("mkdir", "unlink", "remove", "fsync"):
                self.record(name, path, None)
            return result

        return function

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **more: Any) -> Any:
        """``io.open``, for a file below the root with the operations of ``_File``."""
        path = self.path_of(file)
        if path is None:
            return self._before[io]["open"](file, mode, buffering, *arguments, **more)
        named = not isinstance(file, int) and "opener" not in more  # others are opened by os.open
        if named:
            self.happen("open", path, written="r" not in mode)
        existed = os.path.lexists(file) if named else True
        plain = mode.replace("b", "").replace("t", "")
        keywords = {name: more.pop(name) for name in ("closefd", "opener") if name in more}
        raw = _File(self, path, file, plain, **keywords)
        if not existed:
            self.record("create", path, None)
        elif "w" in mode:
            self.record("truncate", path, 0)
        if buffering == 0:
            return raw
        kind: Any = (
            io.BufferedRandom if "+" in plain else io.BufferedReader if raw.readable() else io.BufferedWriter
        )
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *arguments, **more)


class _File(io.FileIO):
    """A file whose reads, writes and truncations are operations."""

    def __init__(self, disk: Disk, path: str, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._disk, self._path = disk, path

    def write(self, data: Any) -> int:
        fault = self._disk.happen("write", self._path, written=True)
        data = memoryview(data).cast("B")
        if fault:
            data = data[: max(1, len(data) // 2)]
        place = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
        count = super().write(data)
        self._disk.record("write", self._path, (place, bytes(data)))
        if fault == "kill in a write":
            os.kill(os.getpid(), signal.SIGKILL)
        if number := TORN.get(fault):
            raise OSError(number, os.strerror(number))
        return count

    def readinto(self, buffer: Any) -> int:
        self._disk.happen("read", self._path)
        return super().readinto(buffer)

    def read(self, size: int | None = -1) -> bytes:
        self._disk.happen("read", self._path)
        return super().read(-1 if size is None else size)

    def readall(self) -> bytes:
        self._disk.happen("read", self._path)
        return super().readall()

    def truncate(self, size: int | None = None) -> int:
        self._disk.happen("truncate", self._path)
        result = super().truncate(size)
        self._disk.record("truncate", self._path, result)
        return result
