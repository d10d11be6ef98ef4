"""The commands that training suggests: pasted, they do what is said."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from charrnn.cli.train_command import advise, resume_command, train_command
from charrnn.config import BY_HEART, SHORT, ModelConfig, TrainConfig
from charrnn.origin import Origin
from charrnn.runs import checkpoint, history
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.training import budget, learner, sizing
from tests.conftest import TEXT, Ran, charrnn

TINY = ["--embedding", "4", "--streams", "4", "--bptt", "16"]
SMALL = [*TINY, "--hidden", "8"]


@pytest.fixture(autouse=True)
def text() -> Path:
    Path("checkpoints").mkdir()
    path = Path("notes.txt")
    path.write_text(TEXT, encoding="utf-8")
    return path


def suggested(line: str) -> list[str]:
    """The arguments of the command at the end of a line."""
    return shlex.split(line[line.index(": charrnn ") + len(": charrnn ") :])


def line_of(done: Ran, start: str) -> str:
    (line,) = [line for line in done.err.splitlines() if line.startswith(start)]
    return line


def weights(run: str, name: str = BEST) -> dict[str, np.ndarray]:
    return checkpoint.load(Path("checkpoints", run, name)).weights


def same(one: str, other: str) -> bool:
    return all(
        value.tobytes() == weights(other, name)[key].tobytes()
        for name in (BEST, LAST)
        for key, value in weights(one, name).items()
    )


# --- repeating ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--steps", "12"],
        ["--epochs", "30", "--cell", "mingru"],
        ["--epochs", "0.5", "--seed", "3", "--split", "80,15,5", "--cell", "gru", "--layers", "2"],
        [
            "--steps",
            "12",
            "--save-every",
            "5",
            "--patience",
            "9",
            "--lr",
            "0.01",
            "--optimizer",
            "adamw",
            "--bytes",
        ],
        ["--steps", "5", "--params", "2k", "--dropout", "0.25", "--clip", "0.5", "--newlines", "keep"],
        ["--steps", "5", "--optimizer", "sgd"],
    ],
    ids=lambda value: " ".join(value),
)
def test_the_command_that_repeats_a_run_gives_the_same_weights(options: list[str]) -> None:
    done = charrnn("train", "notes.txt", *TINY, *options)
    repeated = charrnn(*suggested(line_of(done, "to repeat exactly: ")))
    assert repeated.status == 0, repeated.err
    assert same("notes", "notes-2")


@pytest.mark.slow
def test_a_run_of_minutes_is_repeated_by_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "speed", lambda learner: 50_000.0)
    done = charrnn("train", "notes.txt", *TINY, "--minutes", "0.005")
    arguments = suggested(line_of(done, "to repeat exactly: "))
    assert "--minutes" not in arguments
    assert {"--hidden", "--dropout", "--weight-drop", "--steps"} <= set(arguments)
    assert charrnn(*arguments).status == 0
    assert same("notes", "notes-2")


@pytest.mark.slow
@pytest.mark.parametrize("connections", [(), ("--no-residual",), ("--readout", "top")])
def test_the_connections_of_the_layers_are_repeated_too(connections: tuple[str, ...]) -> None:
    done = charrnn("train", "notes.txt", *TINY, "--steps", "5", "--layers", "2", *connections)
    arguments = suggested(line_of(done, "to repeat exactly: "))
    assert [word for word in arguments if "residual" in word or word in ("--readout", "top")] == [
        *connections
    ]
    assert charrnn(*arguments).status == 0
    assert same("notes", "notes-2")


@pytest.mark.slow
def test_a_fine_tuned_run_and_a_piped_one_are_repeated_too() -> None:
    charrnn("train", "notes.txt", *SMALL, "--steps", "5")
    done = charrnn("train", "-", "--from", "notes", "--steps", "5", stdin=TEXT.upper().encode())
    line = line_of(done, "to repeat exactly, pipe the text in again: ")
    assert charrnn(*suggested(line), stdin=TEXT.upper().encode()).status == 0
    assert same("stdin", "stdin-2")


@pytest.mark.slow
def test_a_fine_tuned_run_whose_text_has_few_symbols_is_resumed() -> None:
    charrnn("train", "notes.txt", *SMALL, "--steps", "5")
    Path("few.txt").write_text("the cat sat on the mat " * 99)
    charrnn("train", "few.txt", "--from", "notes", "--steps", "5")
    done = charrnn("train", "--resume", "few", "--steps", "9")
    assert done.status == 0, done.err
    symbols = [
        checkpoint.load(Path("checkpoints", name, LAST)).header.vocabulary for name in ("notes", "few")
    ]
    assert symbols[0] == symbols[1]


def test_a_text_whose_name_looks_like_an_option_is_given_as_a_path() -> None:
    Path("-x.txt").touch()
    for name in ("-x.txt", os.path.abspath("-x.txt")):
        command = train_command(ModelConfig(), TrainConfig(steps=1), Origin([name]), SHORT)
        assert command.startswith("charrnn train ./-x.txt --hidden")
    command = train_command(ModelConfig(), TrainConfig(steps=1), Origin(["-"]), SHORT)
    assert command.startswith("charrnn train - --hidden")


def test_a_command_has_every_setting_that_is_not_a_default() -> None:
    origin = Origin(["my notes.txt"], glob="*.md", encoding="latin-1", newlines="keep")
    config = TrainConfig(minutes=5.0, epochs=2.5, streams=9, dropout=0.1, weight_drop=0.0, patience=3)
    assert train_command(ModelConfig("gru", 2, 99, 7), config, origin, SHORT) == (
        "charrnn train 'my notes.txt' --cell gru --layers 2 --embedding 7 --no-residual --readout top"
        " --hidden 99 --dropout 0.1"
        " --weight-drop 0 --epochs 2.5 --minutes 5 --patience 3 --streams 9 --glob '*.md'"
        " --encoding latin-1 --newlines keep"
    )


# --- going on ---


@pytest.mark.slow
def test_an_ended_run_says_how_to_train_on_and_the_command_does() -> None:
    charrnn("train", "notes.txt", *SMALL, "--steps", "12")
    before = weights("notes", LAST)
    ended = charrnn("train", "--resume", "notes")
    assert "this run ended at step 12" in ended.err
    assert all((weights("notes", LAST)[name] == value).all() for name, value in before.items())
    line = line_of(ended, "to train on: ")
    assert suggested(line) == ["train", "--resume", "notes", "--steps", "12"]
    assert charrnn(*suggested(line)).status == 0
    header = checkpoint.read_header(Path("checkpoints/notes") / LAST)
    assert header.results["step"] == header.results["steps"] == 24
    assert [report["step"] for report in history.read(Path("checkpoints/notes"))] == [12, 24]


@pytest.mark.slow
def test_more_patience_goes_on_with_what_was_left_of_the_budget() -> None:
    options = [
        "--steps",
        "3000",
        "--save-every",
        "5",
        "--lr",
        "1e-9",
        "--optimizer",
        "sgd",
        "--patience",
        "1",
    ]
    charrnn("train", "notes.txt", *SMALL, *options, "--seed", "2")
    before = len(history.read(Path("checkpoints/notes")))
    done = charrnn("train", "--resume", "notes", "--patience", "1")
    assert done.status == 0, done.err
    reports = history.read(Path("checkpoints/notes"))
    assert len(reports) > before
    assert {report["steps"] for report in reports} == {3000}


def test_a_run_in_the_default_folder_is_named_and_any_other_has_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resume_command([], Path("checkpoints/notes")) == "charrnn train --resume notes"
    assert resume_command([], Path("my runs/notes")) == "charrnn train --resume 'my runs/notes'"
    assert resume_command(["-", "b"], Path("checkpoints/a"), "--steps", "5") == (
        "charrnn train - b --resume a --steps 5"
    )
    monkeypatch.setenv("CHARRNN_CHECKPOINTS", "my runs")
    assert resume_command([], Path("my runs/notes")) == "charrnn train --resume notes"


# --- advice ---


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(
    ("losses", "says", "option"),
    [
        ([(2.0, 2.0), (1.0, 1.9)], "still improving: train longer", "--resume"),
        ([(2.0, 1.5), (1.0, 1.504)], "starting to overfit", "--dropout"),
        ([(2.0, 1.5), (1.0, 1.9)], "overfitted", "--dropout"),
    ],
)
def test_every_advice_is_a_command_that_works(losses: list, says: str, option: str, piped: bool) -> None:
    stdin = TEXT.encode() if piped else b""
    charrnn("train", "-" if piped else "notes.txt", *SMALL, "--epochs", "0.1", "--name", "run", stdin=stdin)
    run = Path("checkpoints/run")
    (report,) = history.read(run)
    (run / history.LOG).write_bytes(b"")
    for training, validation in losses:
        changes = {"train_nats": training, "validation_nats": validation}
        history.append(run, history.Report(**(report | changes)))
    diagnosis, advice = advise(run)
    assert diagnosis.startswith(says)
    assert charrnn("info", "run", tty=True).text.splitlines()[-2:] == [diagnosis, advice]
    assert ("pipe the text in again: " in advice) == piped
    arguments = suggested(advice)
    assert {option, "--epochs"} <= set(arguments)
    assert "--minutes" not in arguments
    done = charrnn(*arguments, stdin=stdin)
    assert done.status == 0, done.err


# --- memory ---


def test_a_network_too_large_for_the_machines_memory_gets_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "notes.txt", *SMALL, "--steps", "1"]
    assert "memory" not in charrnn(*command).err
    monkeypatch.setattr(sizing, "installed_memory", lambda: 20_000)
    done = charrnn(*command)
    assert done.status == 0
    assert "parameters need about" in done.err
    assert "of memory in training, and this machine has 20.0 kB: a smaller --hidden" in done.err


# --- short texts ---


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_hello_is_learnt_by_heart(seed: int) -> None:
    done = charrnn("train", "-", "--seed", str(seed), stdin=b"hello")
    assert "5 characters are learnt by heart" in done.err
    sampled = charrnn("sample", "--temperature", "0", "--prompt", "h", "--length", "4", "--no-echo")
    assert sampled.text == "ello"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["abcdefghijklmnopqrstuvwxyz", "hello world\n" * 3])
def test_a_tiny_text_is_written_from_its_first_character(text: str) -> None:
    charrnn("train", "-", stdin=text.encode())
    length = str(len(text) - 1)
    sampled = charrnn("sample", "-t", "0", "--prompt", text[0], "--length", length)
    assert sampled.text == text


@pytest.mark.slow
def test_a_tiny_text_keeps_the_split_and_the_budget_that_are_given() -> None:
    done = charrnn("train", "-", *TINY, "--split", "50,50,0", "--steps", "3", stdin=b"hello world, hello")
    config = checkpoint.read_header(Path("checkpoints/stdin") / LAST).training
    assert (config.split, config.steps) == ((50, 50, 0), 3)
    assert "9 train, 9 validate" in re.sub(r",(?=\d)", "", done.err)


@pytest.mark.slow
@pytest.mark.slow
def test_a_validation_part_that_reports_read_in_part_is_announced_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = ("train", "notes.txt", *SMALL, "--steps", "2", "--split", "50,50,0")
    whole = len(TEXT) - len(TEXT) // 2
    for most, announced in ((whole - 1, 1), (whole, 0)):
        monkeypatch.setattr(learner, "VALIDATED", most)
        lines = [line for line in charrnn(*quick).err.splitlines() if "each report validates" in line]
        assert len(lines) == announced
        assert all(f"the first {most:,} of the {whole:,} characters" in line for line in lines)


@pytest.mark.parametrize(("length", "note"), [(BY_HEART - 1, "by heart"), (SHORT - 1, "short"), (SHORT, "")])
def test_a_short_text_gets_a_warning(length: int, note: str) -> None:
    Path("notes.txt").write_text((TEXT * 6)[:length])
    done = charrnn("train", "notes.txt", *SMALL, "--steps", "1")
    warnings = [line for line in done.err.splitlines() if line.startswith("short  ")]
    assert len(warnings) == bool(note)
    assert all(note in line for line in warnings)


def test_the_advice_of_a_run_on_a_text_of_another_folder_names_that_folder() -> None:
    Path("my texts").mkdir()
    Path("my texts", "tinyshakespeare.txt").write_text(TEXT * 2)
    done = charrnn(
        "train", "tinyshakespeare", "--corpora", "my texts", "--steps", "4", "--hidden", "4", "--name", "run"
    )
    assert done.status == 0, done.err
    (command,) = re.findall(r"^to train (?:longer|again).*?: charrnn (.*)$", done.err, re.MULTILINE)
    assert "--corpora 'my texts'" in command
    assert charrnn(*shlex.split(command)).status == 0
