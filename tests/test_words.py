"""Wrong command lines: one line that says what is wrong and what to type instead, and the exit status."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer

from charrnn.cli import app, predecessors
from charrnn.errors import similar_name
from tests.conftest import TEXT, charrnn

DOCS = Path(__file__).parent.parent / "docs"


def refusal(*arguments: str, status: int = 2, tty: bool = False) -> str:
    """The one line on stderr of a command that fails with ``status``."""
    done = charrnn(*arguments, tty=tty)
    assert done.status == status, done.err
    assert done.out == b""
    assert done.err.count("\n") == 1, done.err
    return done.err.removeprefix("charrnn: ").strip()


def commands(path: tuple[str, ...] = (), command: Any = None) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command: its words, as ("corpus", "get"), and typer's command."""
    command = command or typer.main.get_command(app)
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path, command
    for name, inner in (subcommands or {}).items():
        yield from commands((*path, name), inner)


# --- values ---

ANY_TEXT = {
    *(
        "checkpoints",
        "corpora",
        "resume",
        "forward",
        "backward",
        "start",
        "prompt",
        "prompt_file",
        "prompts",
        "ban",
        "allow",
        "match",
        "find_regex",
        "candidates",
        "documents",
        "label",
        "vector",
    ),
    *(
        "stop",
        "save_state",
        "load_state",
        "output",
        "delimiter",
        "novel",
        "cells",
        "beside",
        "png",
        "svg",
        "html",
    ),
}
"""Options whose value is a path, a name or a text: none can be told to be wrong without the files."""

WORDS = {
    "cell": "--cell",
    "optimizer": "--optimizer",
    "precision": "--precision",
    "encoding": "--encoding",
    "newlines": "--newlines",
}
"""Options whose value is a word, and what their message begins with, besides typer's choices."""


def wrong_values() -> Iterator[tuple[str, ...]]:
    """A command line for each option that takes a number, a word or a form of its own, with wrong values."""
    for path, command in commands():
        for parameter in command.params:
            if parameter.param_type_name != "option" or parameter.is_flag or parameter.name in ANY_TEXT:
                continue
            kind = parameter.type_descriptor.annotation
            values = ["\x1b/ x"]
            if parameter.name == "params":
                values += ["", "nan", "-1"]
            elif kind in (int, float):
                too_small = "-1e9" if parameter.name == "clamp" else "-1"
                values += ["", "nan", too_small, "1.5" if kind is int else "-inf"]
            elif isinstance(kind, type) and issubclass(kind, Enum):
                values += ["", "AUTOMATIC"]
            elif parameter.name in ("of", "glob"):
                continue
            yield from ((*path, parameter.opts[0], value) for value in values)


@pytest.mark.parametrize(
    "arguments", list(wrong_values()), ids=lambda arguments: " ".join(map(repr, arguments))
)
def test_a_wrong_value_of_any_option_is_one_line_that_names_it_and_exit_2(
    run: Path, arguments: tuple[str, ...]
) -> None:
    Path("notes.txt").write_text(TEXT)
    option = arguments[-2]
    needs = {
        "--diverse": ["--beam", "4"],
        "--diversity": ["--beam", "4", "--diverse", "2"],
        "--length-penalty": ["--beam", "4"],
        "--repeat-window": ["--repeat-penalty", "2"],
    }
    texts = {"train": ["missing.txt"], "gradient-flow": ["--cells", "rnn"], "inspect-cell": ["--sample", "3"]}
    extra = needs.get(option, []) + texts.get(arguments[0], [])
    if option == "--sample":
        extra = []
    line = refusal(*arguments[:-2], *extra, f"{option}={arguments[-1]}")
    start = "no cell is called" if option == "--cell" else option
    assert line.startswith(start), line
    assert not re.search("Input should|Invalid value|Error|parse|NoneType", line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train --hidden abc", "--hidden abc: must be a whole number"),
        ("train --hidden 0", "--hidden 0: must be a whole number from 1 to 1000000"),
        ("train --lr x", "--lr x: must be a number"),
        ("sample --batch 0", "--batch 0: must be a whole number from 1 to 65536"),
        ("sample -n x", "--length x: must be a whole number from 0 up"),
        ("sample -t x", "--temperature x: must be a number, or a range such as 0.3:1.2"),
        (
            "sample --unknown neares",
            "--unknown neares: must be error, skip or nearest; did you mean nearest?",
        ),
        ("sample --color alway", "--colour alway: must be auto, always or never; did you mean always?"),
        (
            "train --precision fp16",
            "--precision fp16: must be auto, float32 or bfloat16; did you mean bfloat16?",
        ),
        ("train --optimizer adam", "--optimizer adam: must be muon, adamw or sgd; did you mean adamw?"),
        (
            "train --muon 0",
            "--muon 0.0: must be above 0 and at most 1e30; --optimizer adamw trains without Muon",
        ),
        (
            "train --optimizer sgd --muon 0.1",
            "--muon has no effect with --optimizer sgd: leave out --muon",
        ),
        (
            "train --device gpu",
            "--device gpu: must be auto, cpu, cuda (or cuda:1, ...) or mps; did you mean cuda?",
        ),
    ],
)  # fmt: skip
def test_the_messages_for_wrong_values_have_one_form(arguments: str, line: str) -> None:
    assert refusal(*arguments.split()) == line


# --- did you mean ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --hiden 5", "no option is called --hiden; did you mean --hidden? (see charrnn train --help)"),
        (
            "sample --Length 5",
            "no option is called --Length; did you mean --length? (see charrnn sample --help)",
        ),
        ("sample --temp 1", "did you mean --temperature?"),
        ("sample --top_k 1", "--top_k (nanoGPT) is --top-k here"),
        ("corpus get --corpra x", "did you mean --corpora? (see charrnn corpus get --help)"),
        ("--colour", "no option is called --colour (see charrnn --help)"),
        ("sample --colour", "--colour needs a value: --colour auto|always|never (see charrnn sample --help)"),
        ("-q runs", "-q: give it after the command: charrnn runs -q (see charrnn runs --help)"),
        ("sample --json=3", "--json takes no value (see charrnn sample --help)"),
        ("corpus get", "NAME is missing (see charrnn corpus get --help)"),
        ("corpus get a b", "one argument too many: b (see charrnn corpus get --help)"),
        ("trian", "no command is called trian; did you mean train? (see charrnn --help)"),
        ("generate", "did you mean sample?"),
        ("help", "no command is called help; type charrnn --help"),
        ("help train", "no command is called help; type charrnn train --help"),
        ("runs help", "no command is called help; type charrnn runs --help"),
        ("resume notes", "no command is called resume; type charrnn train --resume RUN (see charrnn --help)"),
        ("list", "no command is called list; type charrnn runs (see charrnn --help)"),
        ("runs list", "no command is called list; type charrnn runs (see charrnn runs --help)"),
        ("cache ls", "no command is called ls; type charrnn cache (see charrnn cache --help)"),
        ("corpus lst", "no command is called lst; did you mean list? (see charrnn corpus --help)"),
        ("notes.txt", "no command is called notes.txt; commands: train, sample,"),
        ("train --cell lstn", "no cell is called lstn; did you mean lstm?"),
        ("train --cell LSTM", "did you mean lstm?"),
        ("train --cell vanilla", "did you mean rnn?"),
        ("train --cell lstm_peephole", "did you mean lstm-peephole?"),
        ("gradient-flow --cells rnn,gruu", "no cell is called gruu; did you mean gru?"),
        ("inspect-cell --sample 3 --of forgt", "did you mean forget?"),
    ],
)  # fmt: skip
def test_a_misspelt_word_of_a_command_line_gets_the_right_one(
    run: Path, arguments: str, message: str
) -> None:
    assert message in refusal(*arguments.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("info tinny", "no checkpoint is called tinny; did you mean tiny?"),
        ("info TINY", "did you mean tiny?"),
        ("train shakespeare", "no file or folder shakespeare; did you mean tinyshakespeare?"),
        ("train TinyShakespeare", "did you mean tinyshakespeare?"),
        ("train warandpeace", "did you mean warpeace?"),
        ("corpus get python", "did you mean python-stdlib?"),
        ("corpus get mobydick", "did you mean moby-dick?"),
    ],
)
def test_a_misspelt_name_of_a_run_or_a_text_gets_the_right_one(
    run: Path, arguments: str, message: str
) -> None:
    assert message in refusal(*arguments.split(), status=1)


def test_a_name_that_is_not_similar_to_any_has_no_suggestion() -> None:
    names = ["tinyshakespeare", "moby-dick", "alice"]
    assert similar_name("zzz", names) is None
    assert similar_name("", names) is None
    assert similar_name("al", ["alpha", "x"]) is None
    assert similar_name("min", ["ban", "min-length", "min-p"]) == "min-p"


# --- other programs ---


def test_every_flag_of_another_program_is_answered_with_an_option_that_exists() -> None:
    options = {" ".join(path): command.params for path, command in commands()}
    for flag in predecessors.FLAGS:
        known = {name for parameter in options[flag.command] for name in (*parameter.opts, parameter.metavar)}
        named = {flag.ours, *re.findall(r"--[a-z-]+", flag.note.partition("torchrun")[0])} - {""}
        assert named <= known | {option for name in options for p in options[name] for option in p.opts}, flag
        assert not flag.ours or flag.ours in known, flag
        assert flag.ours or flag.note, flag


def test_every_flag_of_another_program_occurs_once_for_each_command() -> None:
    keys = [(flag.command, flag.name) for flag in predecessors.FLAGS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("flag", predecessors.FLAGS, ids=lambda flag: f"{flag.command} {flag.name}")
def test_every_flag_with_one_dash_is_answered_in_one_line(run: Path, flag: predecessors.Flag) -> None:
    if len(flag.name) > 1:
        assert refusal(flag.command, f"-{flag.name}", "1") == f"-{flag.name} {flag.answer()}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train --rnn_size 256", "--rnn_size (char-rnn, torch-rnn, textgenrnn) is --hidden here"),
        (
            "train -rnn_size 9 -num_layers 2 notes.txt",
            "-rnn_size (char-rnn, torch-rnn, textgenrnn) is --hidden here;"
            " -num_layers (char-rnn, torch-rnn) is --layers here",
        ),
        ("train --block-size=9", "--block-size (nanoGPT) is --bptt here: "),
        ("sample -primetext To", "-primetext (char-rnn) is --prompt here"),
        (
            "sample -temperature 1",
            "-temperature (char-rnn, torch-rnn, textgenrnn, nanoGPT) is --temperature here",
        ),
        ("sample -prompt To", "-prompt has two dashes here: --prompt"),
        ("train -hidden 9", "-hidden has two dashes here: --hidden"),
    ],
)  # fmt: skip
def test_the_flags_of_other_programs_answer_with_ours(arguments: str, line: str) -> None:
    assert refusal(*arguments.split()).startswith(line)


def test_the_value_of_an_option_is_never_taken_for_a_flag(run: Path) -> None:
    assert "can never be generated" in refusal("sample", "--stop", "-rnn_size", "--delimiter", "-seed")
    assert charrnn("sample", "-n2", "-ptha", "-s5").text.startswith("tha")
    assert charrnn("sample", "-n2", "--", "-primetext").status == 1  # a checkpoint of this name


def test_the_page_of_other_programs_is_that_of_their_flags() -> None:
    page = runpy.run_path(str(DOCS / "generate.py"))["other_tools_page"]()
    assert (DOCS / "from-other-tools.md").read_text(encoding="utf-8") == page, "run: python docs/generate.py"


# --- options that would have no effect ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gradient-flow tiny --hidden 5", "--hidden has no effect without --cells"),
        ("gradient-flow tiny --layers 2", "--layers has no effect without --cells"),
        ("gradient-flow tiny notes.txt --seed 2", "--seed has no effect with TEXT"),
        ("inspect-cell tiny notes.txt --seed 2", "--seed has no effect with a text"),
        ("inspect-cell tiny --sample 3 --json --colour always", "JSON has no colours"),
        ("train notes.txt --patience 2 --split 9,0,1", "--patience needs a validation part"),
        ("train notes.txt --glob *.txt", "--glob has no effect without a folder"),
        ("train notes.txt --bytes --encoding latin-1", "--encoding has no effect with --bytes"),
        ("train notes.txt --cell mingru --weight-drop 0.1", "--weight-drop has no effect with mingru"),
        ("sample --beam 2 --batch 3", "--beam and --batch"),
        ("sample --json --no-echo", "--json and --no-echo"),
    ],
)
def test_an_option_without_effect_is_refused(run: Path, arguments: str, message: str) -> None:
    Path("notes.txt").write_text(TEXT)
    assert message in refusal(*arguments.split())


def test_a_missing_file_of_prompts_is_reported_before_the_seed_and_makes_no_output(run: Path) -> None:
    assert "--prompts missing: No such file" in refusal(
        "sample", "--prompts", "missing", "-o", "out.txt", status=1
    )
    assert not Path("out.txt").exists()
    assert "directory" in refusal("sample", "--prompts", ".", status=1)


# --- a full disk ---


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("arguments", ["--help", "-h", "--version", "train --help", "corpus list", ""])
def test_help_and_version_on_a_full_disk_name_standard_output(arguments: str) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "charrnn", *arguments.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=os.environ, check=False)
    assert done.returncode == 1
    assert done.stderr == b"charrnn: cannot write to standard output: No space left on device\n"


def test_a_file_that_cannot_be_written_completely_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.files import atomic_write

    with pytest.raises(OSError, match="full") as caught, atomic_write(Path("picture.svg")):
        raise OSError(28, "the disk is full")
    assert caught.value.filename == "picture.svg"
    assert list(Path().iterdir()) == []
