"""Every value of a header, every tensor and every option of a number, with each of a few hostile values."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.cli import sample_interactive
from charrnn.runs.checkpoint import BEST, LAST, weights_sha256
from charrnn.runs.history import LOG
from charrnn.runs.tensor_file import TensorFormat
from tests.conftest import charrnn
from tests.fuzz.laws import DEEP, RUNS, as_json, check, contents, copies, originals, paths, time_limit
from tests.fuzz.test_files import FORMAT, KINDS, parts, rebuild
from tests.fuzz.test_options import ARGUMENTS, COMMANDS, options

SIZES = [10**6, 10**9, 10**30]
"""A network, a text or an array of this size is refused before memory is taken for it (``laws.MEMORY``)."""
VALUES: list[Any] = [
    None,
    True,
    -1,
    1.5,
    1e300,
    float("nan"),
    "",
    "x",
    "\x1b[31m",
    "\ud800",
    [],
    {},
    DEEP,
    *SIZES,
]
NUMBERS = ["", "x", "nan", "inf", "-1", "0", "1.5", "1e300", "9" * 40]
NOT_NUMBERS = ["", "x", "nan"]
PARSED = ["--temperature", "--save-every", "--split", "--singular", "--clamp", "--weights"]
"""Options of numbers that charrnn parses itself."""
UNLIMITED = {("sample", "--length"): ["0", "9" * 40], ("sample", "--count"): ["9" * 40]}
"""Values with which a command works for as long as is asked for."""
SAMPLE = ["sample", "--length", "3", "--seed", "1", *RUNS]
RESUME = ["train", "--steps", "1", "-q", "--resume"]
LOAD = [*SAMPLE, "net", "--load-state", "state"]
STATE = TensorFormat("saved state", "charrnn-state", 1)
SESSION = [command for command in sample_interactive.COMMANDS if command != "/quit"]

Tensors = dict[str, NDArray[Any]]


def damaged(tree: Any, parts: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    """What is damaged in these parts of a JSON tree, its text, and whether a value has another type.

    Each value is replaced by each of VALUES, and is deleted.
    """
    for path in [path for path in paths(tree) if path and path[0] in parts]:
        for value in [*VALUES, "@delete@"]:
            changed = copy.deepcopy(tree)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            before = inner[path[-1]]
            if value == "@delete@":
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
            other = None not in (before, value) and value not in (DEEP, "@delete@")
            yield f"{path} {str(value)[:20]!r}", as_json(changed), other and type_of(before) != type_of(value)


def type_of(value: Any) -> str:
    """The type of a JSON value; true and false are numbers here."""
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "kind", "parts_of_it", "command"),
    [
        (
            "net",
            BEST,
            ("format", "name", "parent", "vocabulary", "corpus", "results", "versions"),
            ["info", "net", *RUNS],
        ),
        ("net", BEST, ("model",), [*SAMPLE, "net"]),
        ("net", LAST, ("training", "origin", "resume"), [*RESUME, "runs/net"]),
        ("docs", BEST, ("model", "corpus"), [*SAMPLE, "docs", "--label", "who=ann", "--vector", "v=[1,2]"]),
        ("grams", BEST, ("model", "vocabulary"), [*SAMPLE, "grams"]),
    ],
)
def test_every_value_of_a_header_may_be_hostile(
    run: str, kind: str, parts_of_it: tuple[str, ...], command: list[str]
) -> None:
    header, _ = parts(originals() / "runs" / run / kind)
    with copies() as folder:
        path = folder / "runs" / run / kind
        files = {file: file.read_bytes() for file in path.parent.iterdir()}
        for what, text, wrong in damaged(header, parts_of_it):
            rebuild(path, text)
            ran = check(*command, may_change=(f"runs/{run}/",) if kind == LAST else ())
            assert ran.status == 1 or not wrong, what
            assert command[0] != "info" or "\x1b" not in ran.text, what
            for file, content in files.items():
                file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["net", "grams"])
def test_every_type_shape_and_place_of_a_tensor_may_be_hostile(run: str) -> None:
    with copies() as folder:
        path = folder / "runs" / run / BEST
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + length])
        for what, text, _ in damaged(entries, tuple(entries.keys() - {"__metadata__"})):
            head = text.encode()
            path.write_bytes(struct.pack("<Q", len(head)) + head + content[8 + length :])
            assert check(*SAMPLE, run).status == 1, what


def damaged_tensors(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """What is damaged, and the tensors: each of them changed in some ways or missing, and one more."""
    yield "one more", tensors | {"more": np.zeros(1, np.float32)}
    for name, tensor in tensors.items():
        yield f"{name} missing", {other: array for other, array in tensors.items() if other != name}
        changes = {
            "flat": tensor.reshape(-1),
            "wider": tensor[..., None],
            "half": tensor.reshape(-1)[: tensor.size // 2],
            "all reversed": tensor.reshape(-1)[::-1].reshape(tensor.shape),
            "float64": tensor.astype(np.float64),
            "int8": tensor.astype(np.int8),
        }
        values = (np.nan, np.inf, -1, 1e38) if tensor.dtype.kind == "f" else (0, 1, 100)
        for value in values:
            changes[f"all {value}"] = np.full_like(tensor, value)
        for change, array in changes.items():
            if array.shape != tensor.shape or array.dtype != tensor.dtype or (array != tensor).any():
                yield f"{name} {change}", tensors | {name: array}


@pytest.mark.slow
@pytest.mark.parametrize(("run", "kind"), KINDS)
def test_every_tensor_may_be_damaged(run: str, kind: str) -> None:
    header, tensors = parts(originals() / "runs" / run / kind)
    command = [*RESUME, f"runs/{run}"] if kind == LAST else [*SAMPLE, run]
    with copies() as folder:
        path = folder / "runs" / run / kind
        files = {file: file.read_bytes() for file in path.parent.iterdir()}
        for what, changed in damaged_tensors(tensors):
            FORMAT.write(path, header | {"weights_sha256": weights_sha256(changed)}, changed)
            ran = check(*command, may_change=(f"runs/{run}/",) if kind == LAST else ())
            fits = "resume." in what or " all " in what
            assert ran.status == 1 or fits, what
            assert "\nnan" not in ran.text, what
            for file, content in files.items():
                file.write_bytes(content)


def state() -> tuple[dict[str, Any], Tensors]:
    """The header and the tensors of the saved state."""
    with STATE.open(originals() / "state") as (header, tensors):
        return header, dict(tensors)


@pytest.mark.slow
def test_every_value_and_tensor_of_a_state_may_be_damaged() -> None:
    header, tensors = state()
    with copies() as folder:
        for what, text, _ in damaged(header, tuple(header)):
            rebuild(folder / "state", text, STATE.key)
            ran = check(*LOAD)
            assert ran.status or "sha256" in what or "format" in what, what
        for what, changed in damaged_tensors(tensors):
            STATE.write(folder / "state", header | {"sha256": weights_sha256(changed)}, changed)
            ran = check(*LOAD)
            usable = what.endswith((" all -1", " all 1e+38", " all reversed", "unread all 0", "unread all 1"))
            assert ran.status == 1 or usable, what


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "command"),
    [(f"runs/net/{BEST}", [*SAMPLE, "net"]), (f"runs/grams/{BEST}", [*SAMPLE, "grams"]), ("state", LOAD)],
)
def test_a_changed_bit_of_a_tensor_is_refused(file: str, command: list[str]) -> None:
    with copies() as folder:
        content = (folder / file).read_bytes()
        begin = 8 + struct.unpack("<Q", content[:8])[0]
        for place in range(begin, len(content), max(1, (len(content) - begin) // 20)):
            changed = bytearray(content)
            changed[place] ^= 1
            (folder / file).write_bytes(changed)
            assert check(*command).status == 1, place


@pytest.mark.slow
def test_every_figure_of_a_log_may_be_hostile() -> None:
    with copies() as folder:
        log = folder / "runs" / "net" / LOG
        lines = log.read_bytes().splitlines(keepends=True)
        report = json.loads(lines[-1])
        for what, text, _ in damaged(report, tuple(report)):
            log.write_bytes(b"".join(lines) + text.encode() + b"\n")
            for command in (["info", "net", *RUNS], ["runs", "diff", "net", "docs", *RUNS]):
                assert "\x1b" not in check(*command).text, what


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["classify", "docs", "bad.jsonl", "--label", "who", "--json", *RUNS],
        ["score", "docs", "bad.jsonl", "--lines", "--json", *RUNS],
        [*SAMPLE, "docs", "--prompts", "bad.jsonl", "--json"],
        [*ARGUMENTS["train"], "bad.jsonl", "--documents", "json", "--label", "who", "--vector", "v"],
    ],
    ids=lambda command: command[0],
)
def test_every_value_of_a_document_may_be_hostile(command: list[str]) -> None:
    with copies() as folder:
        row = json.loads((folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()[0])
        for _, text, _ in damaged(row, tuple(row)):
            (folder / "bad.jsonl").write_text(text + "\n", encoding="utf-8")
            check(*command)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name in ARGUMENTS])
def test_every_option_of_a_number_may_be_hostile(name: str) -> None:
    with copies():
        for parameter in options(COMMANDS[name]):
            option, kind = parameter.opts[0], parameter.type_descriptor.annotation
            if kind not in (int, float) and option not in PARSED:
                continue
            for number in NUMBERS:
                if number in UNLIMITED.get((name, option), []):
                    continue
                ran = check(*name.split(), *ARGUMENTS[name], option, number, may_change=("runs/",))
                whole = kind is int and ("." in number or number in ("-1", "inf", "1e300"))
                assert ran.status == 2 or not (whole or number in NOT_NUMBERS), (option, number)


@pytest.mark.slow
def test_every_command_of_a_session_may_have_a_hostile_value(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [number for number in NUMBERS if number != "0"]  # "/length 0" is without an end
    files = ["text.txt", ".", "missing/x", "~nobody/x", "a\0b", "\ud800", "x" * 5000]
    values = [*numbers, "9" * 5000, *files]
    lines = ["the", *(f"{command} {value}" for command in SESSION for value in values), *values, "/length 3"]
    lines += ["/count 2", "", *values, "1", "\x1b[31m", "//", "/"]

    class Typist:
        def __init__(self, commands: object) -> None:
            self.edit = self.ask = self.next

        def next(self, *arguments: object) -> str:
            if not lines:
                raise EOFError
            return lines.pop(0)

    monkeypatch.setattr(sample_interactive, "Console", Typist)
    monkeypatch.setattr(sample_interactive, "screen_of", lambda out: out)
    with copies() as folder:
        before = contents(folder)
        with time_limit():
            ran = charrnn(*SAMPLE, "net", "--interactive", tty=True)
        assert (ran.status, lines) == (0, []), ran
        assert contents(folder).items() >= before.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "score net text.txt --html mine.html",
        "inspect-cell net text.txt --html mine.html",
        "encode net text.txt --output mine.npy",
        "sample net --length 3 --output mine.txt",
    ],
)
def test_a_command_that_makes_a_new_file_leaves_an_older_one(command: str) -> None:
    with copies() as folder:
        name = command.split()[-1]
        (folder / name).write_text("mine")
        assert check(*command.split(), *RUNS).status == 1
        assert (folder / name).read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["fill", "\udcff [...]", "--forward", "runs/net", "--length", "3"],
        ["sample", "net", "--length", "3", "--prompt", "\udcff", *RUNS],
        ["sample", "net", "--length", "3", "--match", "\udcff", *RUNS],
        ["sample", "net", "--length", "3", "--stop", "\udcff", *RUNS],
        ["classify", "docs", "documents.jsonl", "--label", "\udcff", *RUNS],
        ["sample", "docs", "--length", "3", "--label", "who=\udcff", *RUNS],
    ],
    ids=lambda command: " ".join(command[:1] + command[-4:-3]),
)
def test_a_text_of_an_option_may_be_no_utf_8(command: list[str]) -> None:
    with copies():
        assert check(*command).status in (1, 2)
