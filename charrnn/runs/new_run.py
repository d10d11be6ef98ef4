"""The folder of a new run: its name, and the error for a name that is taken."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shlex
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import write_errors
from charrnn.runs import BEST, LAST, LOCK
from charrnn.runs.history import LOG
from charrnn.runs.lock import RunLock

TEMPORARY = tuple(f".{name}.*" for name in (BEST, LAST, LOG))
"""Patterns of the files that a killed process leaves while it writes."""
EVENTS = "events.out.tfevents.*"
"""The pattern of TensorBoard's files."""


@contextlib.contextmanager
def new_run_folder(runs: Path, name: str | None, default: str) -> Iterator[RunLock]:
    """Context manager: the locked folder of a new run, removed at the end if it holds no checkpoint.

    Raises as ``take_folder``.
    """
    lock = take_folder(runs, name, default)
    try:
        yield lock
    finally:
        if lock.is_intact() and is_free(lock.folder):
            with contextlib.suppress(OSError):
                for path in lock.folder.iterdir():
                    path.unlink()
                lock.folder.rmdir()
        lock.release()


def take_folder(runs: Path, name: str | None, default: str) -> RunLock:
    """Make or take over the folder of a new run, and lock it, so that no other process can take it too.

    A ``name`` that is taken is an error; without a name the run is called ``default``, or ``default-2``
    and so on. Raises CheckpointError.
    """
    for candidate in [name] if name else chain([default], (f"{default}-{number}" for number in count(2))):
        folder = runs / candidate
        if not is_free(folder):
            continue
        with write_errors(folder, CheckpointError):
            folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder)
        try:
            lock.acquire()
        except CheckpointError:
            raise
        except CharrnnError:  # another process was faster
            continue
        if is_free(folder):
            return lock
        lock.release()  # another process trained a run in the meantime
    raise run_exists(folder)


def is_free(folder: Path) -> bool:
    """Whether a new run can have this folder: it does not exist, or holds only what a dead run leaves.

    A run that died before its first save leaves its lock, which nobody holds, and perhaps temporary files.
    """
    if not os.path.lexists(folder):
        return True
    if not folder.is_dir():
        return False
    patterns = (LOCK, EVENTS, *TEMPORARY)
    return all(any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns) for path in folder.iterdir())


def run_exists(folder: Path) -> CheckpointError:
    """The error for the name of a run that is taken, with the command that resumes the run."""
    advice = ""
    if (folder / LAST).exists():
        advice = f", or resume it: {shlex.join(['charrnn', 'train', '--resume', str(folder)])}"
    return CheckpointError(f"run {folder} exists: give another --name{advice}")
