"""The files of a training: the best and the last checkpoint, the log, and a lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from charrnn.errors import CheckpointError
from charrnn.files import make_folder, write_errors
from charrnn.runs import history
from charrnn.runs.checkpoint import BEST, LAST, Header, save_checkpoint
from charrnn.runs.history import Report
from charrnn.runs.lock import RunLock
from charrnn.runs.new_run import take_folder

Arrays = dict[str, NDArray[Any]]
Values = dict[str, Any]


class RunFolder:
    """Writes a run's files, in the main process only; what the disk refuses is written later."""

    def __init__(self, lock: RunLock, header: Header, is_main: bool) -> None:
        """``header`` holds what all checkpoints of the run have in common."""
        self._lock, self.header, self.is_main = lock, header, is_main
        self._checkpoints: dict[str, tuple[Arrays, Values, Values | None]] = {}
        self._reports: list[Report] = []

    @property
    def path(self) -> Path:
        """The folder, which ``move`` changes."""
        return self._lock.folder

    @contextlib.contextmanager
    def lock(self, step: int) -> Iterator[bool]:
        """Make the folder, keep other processes from training in it, and remove the reports after ``step``.

        Yields False where the file system has no locks: then other processes are not kept out.

        Raises CharrnnError.
        """
        if not self.is_main:
            yield True
            return
        given, held_before = self._lock, self._lock.is_held
        if not held_before:
            with write_errors(self.path, CheckpointError):
                make_folder(self.path)
            self._lock.acquire()
        try:
            with write_errors(self.path / history.LOG, CheckpointError):
                history.remove_after(self.path, step)
            yield self._lock.excludes
        finally:
            if not held_before or self._lock is not given:
                self._lock.release()

    def is_lost(self) -> bool:
        """Whether the folder was removed or replaced since it was locked."""
        return self.is_main and not self._lock.is_intact()

    def move(self) -> None:
        """Write to a new folder from now on: one of the same name, or NAME-2 where another run has taken it.

        Raises CheckpointError.
        """
        if self.is_main:
            self._lock.release()
            self._lock = take_folder(self.path.parent, None, self.path.name)
            self.header = replace(self.header, name=self.path.name)

    def add_report(self, report: Report) -> None:
        """Append a line to the log at the next ``write``."""
        self._reports.append(report)

    def add_checkpoint(
        self, name: str, tensors: Arrays, results: Values, resume: Values | None = None
    ) -> None:
        """Replace a checkpoint, BEST or LAST, at the next ``write``."""
        self._checkpoints[name] = tensors, results, resume

    def write(self) -> None:
        """Write what was added and is not on the disk yet. Raises CheckpointError.

        The log comes before the last checkpoint: resuming removes the reports after the checkpoint, while
        in the other order a process killed between the two would lose a line.
        """
        if not self.is_main:
            return
        self._write_checkpoint(BEST)
        while self._reports:
            with write_errors(self.path / history.LOG, CheckpointError):
                history.append(self.path, self._reports[0])
            del self._reports[0]
        self._write_checkpoint(LAST)

    def _write_checkpoint(self, name: str) -> None:
        if name in self._checkpoints:
            tensors, results, resume = self._checkpoints[name]
            save_checkpoint(self.path / name, replace(self.header, results=results, resume=resume), tensors)
            del self._checkpoints[name]
