"""Finding checkpoints: by the name of a run, by path, or among the models that come with charrnn."""

from __future__ import annotations

import difflib
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.runs import BEST, LAST

DEFAULT_MODEL = "shakespeare"
"""The pretrained model that stands in where there is no run."""


def pretrained() -> dict[str, Path]:
    """The models that come with charrnn: their files by name."""
    folder = Path(__file__).parents[1] / "pretrained"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def run_names(folder: Path, kind: str = BEST) -> list[str]:
    """The names of the runs in ``folder`` that have the checkpoint BEST or LAST (``kind``), sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{kind}") if path.is_file())


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
    runs = run_names(folder, kind)
    names = runs + (list(pretrained()) if kind == BEST else [])
    if similar := difflib.get_close_matches(given, names, 1):
        advice = f"did you mean {similar[0]}?"
    elif runs:
        shown = runs[:10] + ([f"and {len(runs) - 10} more"] if len(runs) > 10 else [])
        advice = f"runs in {folder}: {', '.join(shown)}"
    else:
        advice = f"{folder} holds no runs"
    raise CheckpointError(f"no checkpoint is called {given}; {advice}")


def newest(folder: Path, kind: str = BEST) -> Path:
    """The file of the run that was saved last. Raises CheckpointError where there is no run."""
    paths = [path for path in folder.glob(f"*/{kind}") if path.is_file()]
    if not paths:
        raise CheckpointError(
            f"no runs in {folder}: train one with `charrnn train TEXT`,"
            " or name another folder (--checkpoints DIR, or $CHARRNN_CHECKPOINTS)"
        )
    return max(paths, key=lambda path: path.stat().st_mtime_ns)
