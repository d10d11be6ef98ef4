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
from charrnn.files import make_folder, temporary_of, write_errors
from charrnn.runs import BEST, LAST, LOCK
from charrnn.runs.history import LOG
from charrnn.runs.lock import RunLock

FILES = (BEST, LAST, LOG)
"""The files of a run, besides its lock and TensorBoard's."""
EVENTS = "events.out.tfevents.*"
"""The pattern of TensorBoard's files."""


@contextlib.contextmanager
def new_run_folder(runs: Path, name: str | None, default: str) -> Iterator[RunLock]:
    """Context manager: the locked folder of a new run, removed at the end if it holds no checkpoint.

    Raises as ``take_folder``.
    """
    lock = take_folder(runs, name, default)
    with contextlib.ExitStack() as at_the_end:  # the last one first
        at_the_end.callback(lock.release)
        at_the_end.callback(_remove_free, lock)
        yield lock


def _remove_free(lock: RunLock) -> None:
    """Remove the folder if it is ``is_free`` and holds no files of TensorBoard."""
    with contextlib.suppress(OSError):
        if lock.is_intact() and is_free(lock.folder):
            for path in lock.folder.iterdir():
                if is_left(path.name):
                    path.unlink()
            lock.folder.rmdir()


def take_folder(runs: Path, name: str | None, default: str) -> RunLock:
    """Make or take over the folder of a new run, and lock it, so that no other process can take it too.

    A ``name`` that is taken is an error; without a name the run is called ``default``, or ``default-2``
    and so on. Raises CheckpointError; OSError where a folder of the name cannot be read.
    """
    for candidate in [name] if name else chain([default], (f"{default}-{number}" for number in count(2))):
        folder = runs / candidate
        if not is_free(folder):
            continue
        with write_errors(folder, CheckpointError):
            make_folder(folder)
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
    """Whether a new run can have this folder: it does not exist, or holds only what a killed run leaves.

    A run that was killed before its first save leaves its lock, which nobody holds, and perhaps temporary
    files and those of TensorBoard. Raises OSError where the folder cannot be read.
    """
    if not os.path.lexists(folder):
        return True
    if not folder.is_dir():
        return False
    return all(is_left(path.name) or fnmatch.fnmatch(path.name, EVENTS) for path in folder.iterdir())


def is_left(name: str) -> bool:
    """Whether a file is a run's lock or a temporary one of ``FILES``, which a killed process leaves."""
    return name == LOCK or temporary_of(name) in FILES


def run_exists(folder: Path) -> CheckpointError:
    """The error for the name of a run that is taken, with the command that resumes the run."""
    advice = ""
    if (folder / LAST).exists():
        advice = f", or resume it: {shlex.join(['charrnn', 'train', '--resume', str(folder)])}"
    return CheckpointError(f"run {folder} exists: give another --name{advice}")
