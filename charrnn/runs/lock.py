"""The lock of a run's folder, which the process that trains the run holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import write_errors

LOCK = ".lock"
PATIENCE = 0.2
"""Seconds to wait for the lock: ``is_locked`` holds it for a moment."""


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run, which the operating system releases when the process dies.

    Raises CharrnnError when another process holds it, CheckpointError when the folder cannot be written.
    """
    lock = FileLock(run / LOCK, timeout=PATIENCE)
    with write_errors(run, CheckpointError):
        try:
            lock.acquire()
        except Timeout as error:
            raise CharrnnError(f"another process is training {run}") from error
    try:
        yield
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
