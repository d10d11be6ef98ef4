"""The files of a training: the best and the last checkpoint, the log, and a lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from charrnn.errors import CheckpointError
from charrnn.files import write_errors
from charrnn.runs import history
from charrnn.runs.checkpoint import BEST, LAST, Header, save_checkpoint
from charrnn.runs.history import Report
from charrnn.runs.lock import locked

Arrays = dict[str, NDArray[Any]]
Values = dict[str, Any]


class RunFolder:
    """Writes a run's files, in the main process only; what the disk refuses is written later."""

    def __init__(self, path: Path, header: Header, is_main: bool) -> None:
        """``header`` holds what all checkpoints of the run have in common."""
        self.path, self.header, self.is_main = path, header, is_main
        self._checkpoints: dict[str, tuple[Header, Arrays]] = {}
        self._reports: list[Report] = []

    @contextlib.contextmanager
    def lock(self, step: int) -> Iterator[bool]:
        """Make the folder, keep other processes from training in it, and remove the reports after ``step``.

        The value is whether they are kept out, as a filesystem without locks cannot. Raises CharrnnError.
        """
        if not self.is_main:
            yield True
            return
        with write_errors(self.path, CheckpointError):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path) as is_locked:
            with write_errors(self.path / history.LOG, CheckpointError):
                history.remove_after(self.path, step)
            yield is_locked

    def add_report(self, report: Report) -> None:
        """Append a line to the log at the next ``write``."""
        self._reports.append(report)

    def add_checkpoint(
        self, name: str, tensors: Arrays, results: Values, resume: Values | None = None
    ) -> None:
        """Replace a checkpoint, BEST or LAST, at the next ``write``."""
        self._checkpoints[name] = (replace(self.header, results=results, resume=resume), tensors)

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
            save_checkpoint(self.path / name, *self._checkpoints[name])
            del self._checkpoints[name]
