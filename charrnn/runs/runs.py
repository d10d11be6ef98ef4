"""The runs of a folder: their facts, and their removal, renaming and comparison."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import BEST, LAST, read_header, rename_checkpoint
from charrnn.runs.find import advice, pretrained, saved
from charrnn.runs.history import LOG
from charrnn.runs.info import describe
from charrnn.runs.lock import LOCK, is_locked, locked
from charrnn.runs.new_run import EVENTS, FILES, is_free, is_left

Facts = dict[str, Any]

RESULTS = (
    "validation_bpc",
    "validation_nats",
    "train_nats",
    "steps",
    "steps_planned",
    "epochs",
    "characters",
    "seconds",
)
IDENTITY = ("path", "name", "weights_sha256", "symbols", "training", "versions", "resumable")
"""Facts that ``compare`` leaves out, or takes apart."""


def list_runs(folder: Path) -> list[Facts]:
    """The facts of all runs in a folder, the one saved last first; then those of the pretrained models.

    A pretrained model is left out where a run has its name. Raises OSError.
    """
    runs = [path for path in folder.iterdir() if _is_run(path)] if folder.is_dir() else []
    runs.sort(key=lambda run: (-saved(run), run.name))
    names = {run.name for run in runs}
    models = [_model_facts(name, path) for name, path in pretrained().items() if name not in names]
    return [_run_facts(run) for run in runs] + models


def _is_run(path: Path) -> bool:
    """Whether a folder holds a run; one that the user cannot read is no run."""
    return any(os.path.isfile(path / name) for name in (BEST, LAST, LOG, LOCK))


def _run_facts(run: Path) -> Facts:
    """What ``describe`` says of the best checkpoint, else of the last one, and the facts of the folder.

    problem  why a checkpoint cannot be read, or "no checkpoint was saved"; None for a sound run
    saved    when the run was last saved, in UTC
    """
    facts: Facts = {}
    problem, resumable = None, False
    kinds = [kind for kind in (LAST, BEST) if (run / kind).exists()]
    for kind in kinds:
        try:
            facts |= describe(run / kind)
        except CheckpointError as error:
            problem = str(error)
        else:
            resumable = facts.get("resumable", False) if kind == LAST else resumable
    training = is_locked(run)
    if not kinds:
        problem = None if training else "no checkpoint was saved"
    time = datetime.fromtimestamp(saved(run), UTC).isoformat(timespec="seconds") if kinds else None
    return {
        "name": run.name,
        **{key: value for key, value in facts.items() if key != "name"},
        "folder": str(run),
        "saved": time,
        "size_bytes": _size(run.rglob("*")),
        "resumable": resumable,
        "in_training": training,
        "pretrained": False,
        "problem": problem,
    }


def _model_facts(name: str, path: Path) -> Facts:
    """The facts of a model that comes with charrnn."""
    return {
        **describe(path),
        "name": name,
        "folder": None,
        "saved": None,
        "size_bytes": path.stat().st_size,
        "resumable": False,
        "in_training": False,
        "pretrained": True,
        "problem": None,
    }


def _size(paths: Iterable[Path]) -> int:
    """Bytes in files; links count as links."""
    return sum(path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


def find_run(folder: Path, given: str) -> Path:
    """The folder of a run, by the run's name or by the folder's path.

    Raises CheckpointError, with a similar name or the names of the runs, for anything but a run that
    charrnn made.
    """
    path = Path(given)
    if len(path.parts) > 1 and os.path.realpath(path.parent) != os.path.realpath(folder):
        raise CheckpointError(f"{given} is not in {folder}: add --checkpoints with the folder of that run")
    run = folder / path.name
    if path.name in ("", "..") or not os.path.lexists(run):
        if given in pretrained():
            raise CheckpointError(f"{given} comes with charrnn: it can be neither removed nor renamed")
        raise CheckpointError(f"no run is called {given}; {advice(given, folder)}")
    if run.is_symlink():
        raise CheckpointError(f"{run} is a link to {run.readlink()}, not a run's folder")
    if not _is_ours(run):
        raise CheckpointError(f"{run} is not the folder of a run of charrnn")
    return run


def _is_ours(run: Path) -> bool:
    """Whether a training made the folder, or it is empty.

    Other programs write files called model.safetensors, too.
    """
    if is_free(run) or (run / LOG).is_file() or (run / LOCK).is_file():
        return True
    for kind in (BEST, LAST):
        try:
            read_header(run / kind)
        except CheckpointError:
            continue
        return True
    return False


def remove(run: Path) -> tuple[int, list[str]]:
    """Delete the files of a run, and its folder if no other files are left in it.

    Returns the bytes freed, and the names of the other files. Raises CharrnnError while the run is
    being trained, OSError where a file cannot be deleted.
    """
    with locked(run):
        paths = [path for path in run.iterdir() if _is_of_training(path.name) and not path.is_dir()]
        freed = _size(paths)
        for path in paths:
            path.unlink()
    (run / LOCK).unlink(missing_ok=True)
    others = sorted(path.name for path in run.iterdir())
    if not others:
        run.rmdir()
    return freed, others


def _is_of_training(name: str) -> bool:
    """Whether a training writes files of this name; not its lock."""
    return name != LOCK and (name in FILES or is_left(name) or fnmatch.fnmatch(name, EVENTS))


def rename(run: Path, name: str) -> Path:
    """Give a run another name: in the headers of its checkpoints, then as its folder. Returns the new folder.

    When it fails, the headers get the old name again. Raises CheckpointError where the name is taken or a
    checkpoint is damaged, CharrnnError while the run is being trained, OSError.
    """
    target = run.with_name(name)
    if os.path.lexists(target):
        raise CheckpointError(f"{target} exists: choose another name")
    with locked(run):
        paths = [run / kind for kind in (BEST, LAST) if (run / kind).exists()]
        for path in paths:
            read_header(path)  # all of them before the first is written
        try:
            for path in paths:
                rename_checkpoint(path, name)
            run.rename(target)
        except BaseException:
            for path in paths:
                with contextlib.suppress(CheckpointError, OSError):
                    rename_checkpoint(path, run.name)
            raise
    return target


def compare(paths: Sequence[Path]) -> tuple[Facts, Facts]:
    """The results of checkpoints, and the settings that are not equal: by name the list of their values.

    Raises CheckpointError.
    """
    all_facts = [describe(path) for path in paths]
    results = {key: [facts.get(key) for facts in all_facts] for key in RESULTS}
    all_settings = [_settings(facts) for facts in all_facts]
    common = set.intersection(*(set(facts["symbols"]) for facts in all_facts))
    for settings, facts in zip(all_settings, all_facts, strict=True):
        settings["symbols_not_shared"] = "".join(c for c in facts["symbols"] if c not in common)
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    rows = {name: [settings.get(name) for settings in all_settings] for name in names}
    return results, {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _settings(facts: Facts) -> Facts:
    """The settings of a run, its text and the versions that trained it."""
    settings = {key: value for key, value in facts.items() if key not in (*IDENTITY, *RESULTS)}
    if "labels" in settings:
        settings["labels"] = [
            f"{label} ({len(counts)} values)" for label, counts in settings["labels"].items()
        ]
    versions = {f"{library}_version": version for library, version in facts["versions"].items()}
    return {**settings, **facts["training"], **versions}
