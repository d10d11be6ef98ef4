"""The commands whose operations fail, what they begin from, and the laws that hold after each failure."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import typer

from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.runs.history import LOG, Report
from charrnn.text import catalog
from charrnn.training import train as loop
from charrnn.training.train import Training
from tests.conftest import TEXT, Ran, charrnn

RUN = Path("checkpoints/run")
TRAIN = (
    "train text.txt --name run --hidden 6 --layers 1 --embedding 3 --streams 3 --bptt 8 --steps 12"
    " --save-every 4 --precision float32"
)
STATE = Path("end.state")
Files = dict[Path, bytes]


@dataclass(frozen=True)
class Scenario:
    """A command, and a law.

    begin    makes the files that the command begins from, in the current folder
    command  what is run; its n-th operation fails
    after    runs the command that a user would try next, and raises AssertionError where a law is broken;
             it gets the files before the command, and those after a command that did not fail
    """

    begin: Callable[[], None]
    command: str
    after: Callable[[Files, Files], None]

    def run(self) -> Ran:
        """Run the command."""
        return charrnn(*self.command.split())


def files() -> Files:
    """All files below the current folder."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def done(command: str) -> Ran:
    """A command that must succeed."""
    ran = charrnn(*command.split())
    assert ran.status == 0, f"{command}: status {ran.status}: {ran.err}"
    return ran


def results(run: Path) -> tuple[Any, ...]:
    """What a training gives: weights, optimisers, position and reports, without times."""
    found = [checkpoint.load(run / name, resume=True) for name in (BEST, LAST)]
    reports = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    timed = ("seconds", "characters_per_second")
    return (
        [{name: array.tobytes() for name, array in file.weights.items()} for file in found],
        [{k: v for k, v in (file.header.resume or {}).items() if k not in timed} for file in found],
        [{k: v for k, v in report.items() if k not in timed} for report in reports],
    )


@contextlib.contextmanager
def folder_of(expected: Files) -> Iterator[None]:
    """Context manager: the current folder is a new one with these files."""
    folder = Path.cwd().with_name(f"{Path.cwd().name}-expected")
    for path, data in expected.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    with contextlib.chdir(folder):
        yield


# Training


def begin_text() -> None:
    """A text."""
    Path("text.txt").write_text(TEXT)


def begin_stopped_run() -> None:
    """A run that was stopped at its first report."""
    begin_text()
    whole = Training.run

    def run(self: Training) -> Iterator[loop.Event]:
        for event in whole(self):
            yield event
            self.stop = self.stop or isinstance(event, Report)

    Training.run = run  # type: ignore[method-assign]
    assert charrnn(*TRAIN.split()).status
    Training.run = whole  # type: ignore[method-assign]


def run_goes_on(before: Files, expected: Files) -> None:
    """The checkpoints are whole; resumed or begun again, the run ends as one that did not fail."""
    for name in (BEST, LAST):
        if (RUN / name).exists() or RUN / name in before:
            checkpoint.load(RUN / name, resume=True)
    done(f"train --resume {RUN}" if (RUN / LAST).exists() else TRAIN)
    found = results(RUN)
    with folder_of(expected):
        assert found == results(RUN), "the run ends in other results"


# A saved state


def begin_saved_state() -> None:
    """A run, and a state that it saved."""
    begin_run()
    done(f"sample run --prompt she --length 3 --seed 1 --save-state {STATE}")


def begin_run() -> None:
    """A run that has ended."""
    begin_text()
    done(TRAIN)


def state_is_whole(before: Files, expected: Files) -> None:
    """The state is the old or the new one, and can be loaded and written."""
    assert STATE.read_bytes() in (before[STATE], expected[STATE])
    done(f"sample run --load-state {STATE} --length 5 --seed 1")
    done(f"sample run --prompt the --length 9 --seed 2 --save-state {STATE}")
    assert STATE.read_bytes() == expected[STATE]


# The cache, n-grams and mixtures


def begin_documents() -> None:
    """A text of labelled documents."""
    lines = [{"text": line, "who": "ab"[len(line) % 2]} for line in TEXT.split(".")]
    Path("text.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def ngrams_are_whole(command: str) -> Callable[[Files, Files], None]:
    """After ``command``, which makes the run ``run``, its model is missing or whole, and can be made."""

    def after(before: Files, expected: Files) -> None:
        if not (RUN / BEST).exists():
            done(command)
        assert checkpoint.load(RUN / BEST).weights.keys()
        assert (RUN / BEST).read_bytes() == expected[RUN / BEST]
        done(command.replace("--name run", "--name again"))  # from the same cache
        (again, whole) = (checkpoint.load(RUN.with_name(name) / BEST) for name in ("again", "run"))
        assert again.record()["weights_sha256"] == whole.record()["weights_sha256"]

    return after


def begin_mixture() -> None:
    """A network and an n-gram model of one text."""
    begin_text()
    Path("text.txt").write_text(TEXT * 20)
    done(TRAIN.replace("--steps 12", "--steps 2"))
    done("ngram text.txt --name ngrams")


def mixture_is_sampled(before: Files, expected: Files) -> None:
    """The mixture gives the same text as one whose weights were written without a fault."""
    text = done(MIXTURE).text
    with folder_of(expected):
        assert done(MIXTURE).text == text


# Pages and pictures

PAGE, PICTURE = Path("page.html"), Path("curve.svg")


def page_is_whole(before: Files, expected: Files) -> None:
    """The page is missing or whole; a page that is there is not replaced."""
    if PAGE.exists():
        assert charrnn(*SAVE_PAGE.split()).status == 1
    else:
        done(SAVE_PAGE)
    assert PAGE.read_bytes() == expected[PAGE]


def picture_is_whole(before: Files, expected: Files) -> None:
    """The picture is the old or the new one, and can be drawn again."""
    assert PICTURE.read_bytes() in (before[PICTURE], expected[PICTURE])
    done(DRAW)
    assert PICTURE.read_bytes() == expected[PICTURE]


def begin_picture() -> None:
    """A run, and a picture of another one."""
    begin_run()
    done(TRAIN.replace("--name run", "--name other --seed 5"))
    done(DRAW.replace("info run", "info other"))


# The runs


def run_is_renamed(before: Files, expected: Files) -> None:
    """The run has its old or its new name, is whole, and can be renamed."""
    new = RUN.with_name("new")
    assert RUN.exists() != new.exists()
    for name in (BEST, LAST):
        checkpoint.load((new if new.exists() else RUN) / name, resume=True)
    if RUN.exists():
        done(RENAME)
    assert files().keys() == expected.keys()
    assert checkpoint.read_header(new / BEST).name == "new"


def run_is_removed(before: Files, expected: Files) -> None:
    """What is left of the run can be removed."""
    if RUN.exists():
        done(REMOVE)
    assert files().keys() == expected.keys()


# Downloads


def begin_catalogue() -> None:
    """A catalogue with a text whose hash is not known, and an older download of it."""
    address = os.environ["FAULTS_ADDRESS"]
    Path("catalog.toml").write_text(f'[plays]\nabout = "a test"\nurl = "{address}/plays.zip"\n')
    Path("corpora").mkdir()
    Path("corpora/plays.txt").write_text("an older download")


def download_is_whole(before: Files, expected: Files) -> None:
    """The text is the old or the new one, and can be downloaded."""
    plays = Path("corpora/plays.txt")
    assert plays.read_bytes() in (before[plays], expected[plays])
    done("corpus get plays")
    assert files() == expected


MIXTURE = "sample run ngrams --length 20 --seed 1"
SAVE_PAGE, DRAW = f"score run text.txt --html {PAGE}", f"info run --svg {PICTURE}"
RENAME, REMOVE = "runs mv run new", "runs rm run --yes"
NGRAM = "ngram text.txt --name run"
DOCUMENTS = "ngram text.jsonl --documents json --name run"
SCENARIOS = {
    "train": Scenario(begin_text, TRAIN, run_goes_on),
    "resume": Scenario(begin_stopped_run, f"train --resume {RUN}", run_goes_on),
    "save a state": Scenario(
        begin_saved_state, f"sample run --prompt the --length 9 --seed 2 --save-state {STATE}", state_is_whole
    ),
    "count n-grams": Scenario(begin_text, NGRAM, ngrams_are_whole(NGRAM)),
    "encode documents": Scenario(begin_documents, DOCUMENTS, ngrams_are_whole(DOCUMENTS)),
    "fit a mixture": Scenario(begin_mixture, MIXTURE, mixture_is_sampled),
    "save a page": Scenario(begin_run, SAVE_PAGE, page_is_whole),
    "draw a picture": Scenario(begin_picture, DRAW, picture_is_whole),
    "rename a run": Scenario(begin_run, RENAME, run_is_renamed),
    "remove a run": Scenario(begin_run, REMOVE, run_is_removed),
    "download": Scenario(begin_catalogue, "corpus get plays", download_is_whole),
}


def prepare() -> None:
    """Make the files of trainings independent of the clock, and the catalogue that of the current folder."""
    loop.PROGRESS_SECONDS = math.inf
    seconds = itertools.count()
    vars(loop)["time"] = SimpleNamespace(perf_counter=lambda: float(next(seconds)))
    catalog.catalog_file = lambda: Path("catalog.toml")
    typer.main.get_command = functools.cache(typer.main.get_command)  # each command takes half as long
