"""The lock of a run's folder, which the process that trains the run holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import write_errors
from charrnn.runs import LOCK as LOCK

PATIENCE = 0.2
"""Seconds to wait for the lock: ``is_locked`` holds it for a moment."""


class RunLock:
    """The lock of a run's folder, which the operating system releases when the process dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / LOCK, timeout=PATIENCE)
        self._file: os.stat_result | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises CharrnnError when another process holds it, CheckpointError when the folder cannot be written.
        """
        with write_errors(self.folder, CheckpointError):
            try:
                self._lock.acquire()
            except Timeout as error:
                raise CharrnnError(f"another process is training {self.folder}") from error
            self._file = os.stat(self.folder / LOCK)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        self._lock.release()
        self._file = None

    @property
    def is_held(self) -> bool:
        """Whether ``acquire`` has been called, and ``release`` has not."""
        return self._file is not None

    def is_intact(self) -> bool:
        """Whether the lock is held, and its file still lies in the folder.

        If it does not, the folder was removed or replaced, and another process may train in it.
        """
        try:
            return self._file is not None and os.path.samestat(self._file, os.stat(self.folder / LOCK))
        except OSError:
            return False


@contextlib.contextmanager
def locked(run: Path) -> Iterator[RunLock]:
    """Context manager: hold the lock of a run. Raises as ``RunLock.acquire``."""
    lock = RunLock(run)
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


def is_locked(run: Path) -> bool:
    """Whether another process is training a run."""
    if not (run / LOCK).exists():
        return False
    lock = FileLock(run / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # the folder of another user: nobody can tell
        return False
    lock.release()
    return False
