"""The folder of a new run: its name, and the error for a name that is taken."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.files import write_errors
from charrnn.runs import BEST, LAST
from charrnn.runs.lock import LOCK


@contextlib.contextmanager
def new_run_folder(runs: Path, name: str | None, default: str) -> Iterator[Path]:
    """Make the folder of a new run, and remove it at the end if it holds no checkpoint.

    Making the folder reserves it: no other process can get the same one. A ``name`` that is taken is
    an error; without a name the run is called ``default``, or ``default-2`` and so on.

    Raises CheckpointError.
    """
    for candidate in [name] if name else chain([default], (f"{default}-{number}" for number in count(2))):
        folder = runs / candidate
        with write_errors(folder, CheckpointError), contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    else:
        raise run_exists(folder)
    try:
        yield folder
    finally:
        if folder.exists() and not any(path.suffix == ".safetensors" for path in folder.iterdir()):
            shutil.rmtree(folder)


def run_exists(folder: Path) -> CheckpointError:
    """The error for the name of a run that is taken, with the command that resumes or removes the run."""
    advice = ""
    if (folder / LAST).exists():
        advice = f", or resume it: {shlex.join(['charrnn', 'train', '--resume', str(folder)])}"
    elif (folder / LOCK).exists() and not (folder / BEST).exists():  # stopped before the first save
        words = ["charrnn", "runs", "rm", folder.name, "--checkpoints", str(folder.parent)]
        advice = f", or remove it: {shlex.join(words)}"
    return CheckpointError(f"run {folder} exists: give another --name{advice}")
