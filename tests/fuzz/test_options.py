"""Any value of any option of any command; new commands and options are among them by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import app
from tests.fuzz.laws import RUNS, check, copies, examples

NETWORK = ["--steps", "1", "--hidden", "2", "--embedding", "1", "--streams", "2", "--bptt", "4", "-q"]
ARGUMENTS: dict[str, list[str]] = {
    "train": ["text.txt", *RUNS, *NETWORK],
    "sample": ["net", *RUNS, "--length", "5", "--seed", "1"],
    "fill": ["the [...] sat", "--forward", "runs/net", "--beam", "2", "--length", "5"],
    "score": ["net", "text.txt", *RUNS],
    "classify": ["docs", "documents.jsonl", "--label", "who", *RUNS],
    "inspect-cell": ["net", "text.txt", *RUNS],
    "encode": ["net", "text.txt", *RUNS],
    "gradient-flow": ["--cells", "rnn", "--length", "5", "--hidden", "2"],
    "ngram": ["text.txt", "--order", "2", *RUNS],
    "info": ["net", *RUNS],
    "corpus list": [],
    "runs": [*RUNS],
    "runs rm": ["net", "--yes", *RUNS],
    "runs mv": ["net", "new", *RUNS],
    "runs diff": ["net", "docs", *RUNS],
    "cache": [],
    "cache clear": ["--yes"],
}
"""A command line of each command that works; a command that is not here gets no arguments."""
SKIPPED = {"corpus get"}
"""Commands that download."""
ENDLESS = {"--length", "--count", "--minutes", "--epochs", "--steps"}
"""Options with which a command works for as long as is asked for."""
TO_BE_CHANGED = {"runs rm": ("runs/net/",), "runs mv": ("runs/net/",)}
"""The files that are a command's job to change."""
OUTPUTS = {"--output", "-o", "--png", "--svg", "--html", "--save-state"}
"""Options that name the file to write."""

NUMBERS = ["-1", "0", "1", "2", "3", "0.5", "-0.0", "nan", "inf", "-inf", "1_0", "１", "0x1"]
LARGE_AND_SMALL = ["1e-320", "1e400", "9" * 400]
STRANGE = ["", " ", "x", "é", "\ud800", "\udcff", "a\nb", "\x1b[31m", "%s", "{}", "-", "--", "x" * 10_000]
ESCAPED = ["\\", "\\n", "\\x", "\\xff", "\\u12", "\\ud800"]
EXPRESSIONS = ["[", "(", "(?", "a{1000}", "(a*)*b", "a|", "[a-z]+", "$", ".", "\\p{L}", "the"]
NAMES = ["net", "docs", "grams", "text.txt", "documents.jsonl", "state", "runs", "runs/net", "missing/x"]
LABELS = ["who=ann", "who=x", "who=", "=", "who", "0:1", "who=ann:1,bob:inf"]
VECTORS = ["v=1,2", "v=[1,2]", "v=[NaN,1]", "v=" + "[" * 100_000, "1,2", "1,2,3", "0,0,0", ",", "1,,2"]
ENCODINGS = ["utf-8", "utf-16", "utf-7", "hex", "idna", "rot13", "undefined"]
WORDS = ["json", "line", "blank", "lf", "all", "top"]
numbers = st.sampled_from([*NUMBERS, *LARGE_AND_SMALL])
texts = st.sampled_from([*STRANGE, *ESCAPED, *EXPRESSIONS, *NAMES, *LABELS, *VECTORS, *ENCODINGS, *WORDS])


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command's name, as "corpus list", and typer's command."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        yield full, command
        if hasattr(command, "commands"):
            yield from commands(command, full)


COMMANDS = {name: command for name, command in commands() if name not in SKIPPED}


def options(command: Any) -> list[Any]:
    """The options of a command, not its arguments."""
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


@st.composite
def option(draw: st.DrawFn, command: Any) -> list[str]:
    """One option, with a value unless it is a flag."""
    found = [parameter for parameter in options(command) if not ENDLESS & set(parameter.opts)]
    if not found:
        return []
    parameter = draw(st.sampled_from(found))
    name = draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts]))
    if parameter.is_flag:
        return [name]
    if OUTPUTS & set(parameter.opts):
        return [
            name,
            draw(
                st.sampled_from(
                    ["new", "missing/new", "text.txt", "runs/net/model.safetensors", "", ".", "runs"]
                )
            ),
        ]
    choices = [str(choice.value) for choice in parameter.type_descriptor.choices or ()]
    known = st.sampled_from(choices) if choices else st.nothing()
    return [name, draw(known | numbers | texts)]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@examples(30)
@given(st.data())
def test_any_value_of_any_option_is_refused_or_used(name: str, data: st.DataObject) -> None:
    command = COMMANDS[name]
    arguments = list(ARGUMENTS.get(name, []))
    for _ in range(data.draw(st.integers(1, 3))):
        arguments += data.draw(option(command))
    stdin = data.draw(st.sampled_from([None, None, b"", b"the cat\n", b"\xff\0", b'{"text": "cat"}\n']))
    with copies():
        check(*name.split(), *arguments, stdin=stdin, may_change=TO_BE_CHANGED.get(name, ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@examples(8)
@given(st.data())
def test_any_arguments_are_refused_or_used(name: str, data: st.DataObject) -> None:
    arguments = data.draw(st.lists(texts | numbers, max_size=3))
    with copies():
        rest = ARGUMENTS.get(name, [])
        options = rest[next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest)) :]
        may_change = ("runs/",) if name in TO_BE_CHANGED else ()  # an argument may be the name of another run
        check(*name.split(), *arguments, *options, stdin=b"", may_change=may_change)
