"""Finding checkpoints: by the name of a run, by path, or among the models that come with charrnn."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import CheckpointError, similar_name
from charrnn.files import data_path
from charrnn.runs import BEST, LAST, LOCK

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Header

DEFAULT_MODEL = "shakespeare"
"""The pretrained model that stands in where there is no run."""


def pretrained() -> dict[str, Path]:
    """The models that come with charrnn: their files by name."""
    folder = Path(__file__).parents[1] / "pretrained"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def run_names(folder: Path, kind: str = BEST) -> list[str]:
    """The names of the runs in ``folder`` that have the checkpoint BEST or LAST (``kind``), sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{kind}") if path.is_file())


def model_names(folder: Path) -> list[str]:
    """The names that ``find`` accepts: the runs in ``folder``, then the pretrained models."""
    runs = run_names(folder)
    return runs + [name for name in pretrained() if name not in runs]


def model_name(path: Path) -> str:
    """The name of the model in a checkpoint file: the run's, or the file's own outside a run."""
    return path.parent.name if path.name in (BEST, LAST) else path.stem


def find(given: str | None, folder: Path, kind: str = BEST) -> Path:
    """The file of a checkpoint: BEST or LAST (``kind``) of a run in ``folder``, or any file.

    ``given`` is a file, the folder of a run, the name of a run or of a pretrained model, or None for the
    newest run. Raises CheckpointError, with a similar name or the names of the runs.
    """
    if given is None:
        return newest(folder, kind)
    if not given:
        raise CheckpointError("the CHECKPOINT given is empty: leave it out for the newest run")
    path = Path(given)
    candidates = [path, path / kind, folder / given / kind]
    if path.name == given and path.suffix != Path(BEST).suffix:
        candidates.reverse()  # a word is the name of a run first: its text may have the same name
    if kind == BEST and given in pretrained():
        candidates.append(pretrained()[given])
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if kind == LAST and (folder / given / BEST).is_file():
        reason = "it is an n-gram model, or the file was removed"
        raise CheckpointError(f"run {given} has no {LAST} to resume from: {reason}")
    if (folder / given / LOCK).is_file():
        raise CheckpointError(
            f"run {given} holds no checkpoint: to train it again: charrnn train TEXT --name {given}"
        )
    raise CheckpointError(f"no checkpoint is called {given}; {advice(given, folder, kind)}")


def advice(given: str, folder: Path, kind: str = BEST) -> str:
    """The end of an error message: where ``given`` is, or what is in ``folder``."""
    for other in other_folders(folder):
        if (other / given / kind).is_file():
            return f"it is not in {folder} but in {other}: add --checkpoints {shlex.quote(str(other))}"
    if kind == LAST and given in pretrained():
        return f"{given} comes with charrnn; train on from it: charrnn train TEXT --from {given}"
    runs = run_names(folder, kind)
    if similar := similar_name(given, model_names(folder) if kind == BEST else runs):
        return f"did you mean {similar}? (looked in {folder})"
    models = f"; models that come with charrnn: {', '.join(pretrained())}" if kind == BEST else ""
    if not runs:
        return f"no runs in {folder}{but_elsewhere(folder, kind)}{models}"
    shown = runs[:10] + ([f"and {len(runs) - 10} more"] if len(runs) > 10 else [])
    return f"runs in {folder}: {', '.join(shown)}{models}"


def ngram_beside(path: Path, header: Header) -> Path | None:
    """The checkpoint of an n-gram model of the same text, split and symbols, beside the run of a checkpoint.

    The run NAME-ngram is preferred. None without such a run, and for a checkpoint outside a run.
    """
    from charrnn.config import NgramConfig
    from charrnn.runs.checkpoint import read_header

    if path.name not in (BEST, LAST) or not header.corpus.get("sha256"):
        return None
    run = path.absolute().parent
    names = sorted(run_names(run.parent), key=lambda name: name != f"{run.name}-ngram")
    for candidate in (run.parent / name / BEST for name in names if name != run.name):
        with contextlib.suppress(CheckpointError):  # a damaged checkpoint is no reason to fail
            other = read_header(candidate)
            is_ngram = isinstance(other.model, NgramConfig)
            same_text = other.corpus.get("sha256") == header.corpus["sha256"]
            same_split = other.training.split == header.training.split
            if is_ngram and same_text and same_split and other.vocabulary == header.vocabulary:
                return candidate
    return None


def newest(folder: Path, kind: str = BEST) -> Path:
    """The file of the run that was saved last. Raises CheckpointError where there is no run."""
    paths = [path for path in folder.glob(f"*/{kind}") if path.is_file()]
    if not paths:
        raise CheckpointError(
            f"no runs in {folder}{but_elsewhere(folder, kind)}: train one with `charrnn train TEXT`,"
            " or name another folder (--checkpoints DIR, or $CHARRNN_CHECKPOINTS)"
        )
    return max(paths, key=lambda path: saved(path.parent))


def saved(run: Path) -> float:
    """When a run was last saved, in seconds since 1970; 0 where it has no checkpoint."""
    paths = (run / BEST, run / LAST)
    return max((path.stat().st_mtime for path in paths if path.is_file()), default=0.0)


def other_folders(folder: Path) -> list[Path]:
    """The other folders that can hold the user's runs: ./checkpoints and that of the user's data folder."""
    usual = (Path("checkpoints"), data_path("checkpoints"))
    return [
        other for other in usual if other.is_dir() and os.path.realpath(other) != os.path.realpath(folder)
    ]


def elsewhere(folder: Path, kind: str = BEST) -> str:
    """The number of runs in each of the other folders, as "3 in OTHER"; "" where they hold none."""
    counts = {other: len(run_names(other, kind)) for other in other_folders(folder)}
    return ", ".join(f"{count} in {other}" for other, count in counts.items() if count)


def but_elsewhere(folder: Path, kind: str = BEST) -> str:
    """The end of "no runs in FOLDER": " (but 3 in OTHER)", or "" where the other folders hold none."""
    others = elsewhere(folder, kind)
    return f" (but {others})" if others else ""
