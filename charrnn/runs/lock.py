"""The lock of a run's folder, which the process that trains the run holds."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import write_errors
from charrnn.runs import LOCK as LOCK

PATIENCE = 0.2
"""Seconds to wait for the lock: ``is_locked`` holds it for a moment."""
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EPERM}
"""The errors of a file system without locks, such as some of networks; EPERM is the answer of the
filters of system calls that containers have."""


class RunLock:
    """The lock of a run's folder, which the operating system releases when the process dies.

    excludes  False where the file system has no locks: then other processes are not kept out
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.excludes = folder, False
        self._lock = FileLock(folder / LOCK, timeout=PATIENCE)
        self._marked: tuple[Path, os.stat_result] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises CharrnnError when another process holds it, CheckpointError when the folder cannot be written.
        """
        with write_errors(self.folder, CheckpointError):
            try:
                self.excludes = _acquired(self._lock)
            except Timeout as error:
                raise CharrnnError(f"another process is training {self.folder}") from error
            path = self.folder / LOCK if self.excludes else self.folder
            self._marked = path, os.stat(path)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        self._lock.release()
        self._marked = None

    @property
    def is_held(self) -> bool:
        """Whether ``acquire`` has been called, and ``release`` has not."""
        return self._marked is not None

    def is_intact(self) -> bool:
        """Whether the lock is held, and its file still lies in the folder.

        If it does not, the folder was removed or replaced, and another process may train in it.
        """
        if self._marked is None:
            return False
        path, marked = self._marked
        try:
            return os.path.samestat(marked, os.stat(path))
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
        _acquired(lock)
    except Timeout:
        return True
    except OSError:  # the folder of another user: nobody can tell
        return False
    lock.release()
    return False


def _acquired(lock: BaseFileLock) -> bool:
    """Acquire a lock; False where the file system has no locks. Raises Timeout, OSError."""
    try:
        # filelock warns before it makes the file itself the lock: a process that is killed would leave it.
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "flock not supported")
            lock.acquire()
    except (NotImplementedError, UserWarning):
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS or error.filename is not None:  # opening the file failed
            raise
        return False
    return True
