"""The lock of a run's folder, which the process that trains the run holds."""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import write_errors

LOCK = ".lock"
PATIENCE = 0.2
"""Seconds to wait for the lock: ``is_locked`` holds it for a moment."""
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EPERM}
"""The errors of a filesystem without locks, such as some of networks."""


@contextlib.contextmanager
def locked(run: Path) -> Iterator[bool]:
    """Hold the lock of a run, which the operating system releases when the process dies.

    The value is False where the filesystem has no locks: then nothing is held.
    Raises CharrnnError when another process holds it, CheckpointError when the folder cannot be written.
    """
    lock = FileLock(run / LOCK, timeout=PATIENCE)
    with write_errors(run, CheckpointError):
        try:
            is_held = _acquired(lock)
        except Timeout as error:
            raise CharrnnError(f"another process is training {run}") from error
    try:
        yield is_held
    finally:
        lock.release()


def is_locked(run: Path) -> bool:
    """Whether another process is training a run."""
    if not (run / LOCK).exists():
        return False
    lock = FileLock(run / LOCK, blocking=False)
    try:
        _acquired(lock)
    except Timeout:
        return True
    except OSError:  # the folder of another user: nobody can tell
        return False
    lock.release()
    return False


def _acquired(lock: BaseFileLock) -> bool:
    """Acquire a lock; False where the filesystem has no locks. Raises Timeout, OSError."""
    try:
        # filelock warns before it makes the file itself the lock: a process that is killed would leave it.
        with warnings.catch_warnings(action="error"):
            lock.acquire()
    except (NotImplementedError, UserWarning):
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS or error.filename is not None:  # opening the file failed
            raise
        return False
    return True
