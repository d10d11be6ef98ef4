"""Names, paths and texts with any characters: no command fails, and none lets them steer a terminal."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest

from charrnn.conditions import Label
from charrnn.config import ModelConfig
from charrnn.files import json_line, json_text
from charrnn.runs import checkpoint, history
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

STEERING = "a\x1b]0;pwned\x07b\u202e\x9b$x$"
"""Sets a terminal's title, and turns the direction of a line; $x$ is a formula for matplotlib."""
FORMULA = "_$\\frac$"
"""matplotlib leaves a label that begins with "_" out of a legend, and cannot draw this formula."""
NAMES = {"steering": STEERING, "formula": FORMULA, "not UTF-8": os.fsdecode(b"a\xe9b")}
OUR_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\[A")
"""Colours, and the way back to a line above, which two progress bars need."""
CONTROLS = "\x1b]0;pwned\x07\x85\u202e\x9b\r"


@pytest.fixture(params=[*NAMES.values()], ids=[*NAMES])
def name(request: pytest.FixtureRequest) -> str:
    """The name of a run and, with ".txt", of a text; the run's log has two reports."""
    name: str = request.param
    save(name)
    Path(f"{name}.txt").write_text(TEXT)
    for step in (1, 2):
        row = {"step": step, "epoch": step / 2, "train_nats": 2 / step, "validation_nats": 3 / step}
        with Path("checkpoints", name, history.LOG).open("ab") as file:
            file.write(json_line(row))
    return name


def save(name: str, symbols: str = "", **settings: Any) -> Path:
    """A run of this name, its weights drawn at random. Returns its checkpoint."""
    config = ModelConfig(hidden=6, embedding=4, **settings)
    vocabulary = Vocabulary("".join(sorted(set(TEXT) | set(symbols))), documents=config.documents)
    path = Path("checkpoints", name, BEST)
    path.parent.mkdir(parents=True)
    header = Header(config, vocabulary, name=name, corpus={"name": f"{name}.txt"})
    save_checkpoint(path, header, random_weights(config, len(vocabulary)))
    return path


def steering(shown: str) -> set[str]:
    """The characters that could steer a terminal, besides those that colours and progress bars need."""
    return {c for c in OUR_SEQUENCES.sub("", shown) if not c.isprintable() and c not in "\n\t\r"}


COMMANDS = {
    "info": ["info", "RUN"],
    "info of two": ["info", "RUN", "shakespeare"],
    "runs": ["runs"],
    "diff": ["runs", "diff", "RUN", "shakespeare"],
    "score": ["score", "RUN", "TEXT"],
    "lines": ["score", "RUN", "TEXT", "TEXT", "--lines"],
    "compare": ["score", "RUN", "shakespeare", "--compare", "TEXT", "--unknown", "skip"],
    "values": ["inspect-cell", "RUN", "TEXT"],
    "gates": ["inspect-cell", "RUN", "TEXT", "--gates"],
    "sample": ["sample", "RUN", "--seed", "1", "--length", "9"],
    "gradients": ["gradient-flow", "RUN", "TEXT", "--length", "3"],
    "encode": ["encode", "RUN", "TEXT", "TEXT"],
    "ngram": ["ngram", "TEXT", "--order", "2", "--checkpoints", "RUN"],
    "no run": ["sample", "noRUN"],
    "no text": ["train", "noTEXT"],
    "taken": ["train", "TEXT", "--checkpoints", "checkpoints", "--name", "RUN"],
    "resume": ["train", "--resume", "RUN"],
    "rm": ["runs", "rm", "RUN"],
}


def words(command: str, name: str) -> list[str]:
    return [word.replace("RUN", name).replace("TEXT", f"{name}.txt") for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_steers_a_terminal_and_none_is_a_bug(command: str, name: str) -> None:
    done = charrnn(*words(command, name), tty=True)
    assert done.status == 0 or len(done.err.splitlines()) == 1
    assert steering(done.text + done.err) == set()


AS_JSON = ("info", "runs", "diff", "score", "lines", "compare", "values", "gates", "sample", "gradients")


@pytest.mark.parametrize("command", AS_JSON)
def test_json_is_printable_whatever_the_names(command: str, name: str) -> None:
    done = charrnn(*words(command, name), "--json")
    assert done.status == 0, done.err
    assert steering(done.text) == set()
    rows = [json.loads(line) for line in done.text.splitlines()]
    if command == "runs":
        assert rows[0]["name"] == name
    if command in ("score", "lines"):
        assert rows[0]["file"] == f"{name}.txt"


def test_a_path_is_printed_byte_for_byte_into_a_pipe_and_printable_in_a_terminal(name: str) -> None:
    arguments = ("ngram", f"{name}.txt", "--order", "2", "--checkpoints", f"{name}-runs", "--name")
    path = Path(f"{name}-runs", "one", BEST)
    assert charrnn(*arguments, "one").out == os.fsencode(path) + b"\n"
    assert path.is_file()
    assert steering(charrnn(*arguments, "two", tty=True).text) == set()


PICTURES = {
    "values": ["inspect-cell", "RUN", "TEXT"],
    "gates": ["inspect-cell", "RUN", "TEXT", "--gates"],
    "losses": ["info", "RUN", "shakespeare"],
    "gradients": ["gradient-flow", "RUN", "TEXT", "--length", "3"],
    "page": ["inspect-cell", "RUN", "TEXT", "--html"],
    "shaded": ["score", "RUN", "TEXT", "--html"],
}


@pytest.mark.slow
@pytest.mark.parametrize("picture", PICTURES)
def test_a_name_is_printable_in_a_picture_and_on_a_page(picture: str, name: str) -> None:
    words = [word.replace("RUN", name).replace("TEXT", f"{name}.txt") for word in PICTURES[picture]]
    words += [] if words[-1] == "--html" else ["--svg"]
    file = Path(f"picture.{words[-1][2:]}")
    done = charrnn(*words, str(file))
    assert done.status == 0, done.err
    content = file.read_text("utf-8")
    assert steering(content.replace("\xa0", " ")) == set()
    if file.suffix == ".svg":
        texts = minidom.parseString(content.encode()).getElementsByTagName("text")
        shown = "".join(node.firstChild.data for node in texts if node.firstChild)  # type: ignore[union-attr]
        assert name not in (STEERING, FORMULA) or picture == "gradients" or "$" in shown


def test_a_label_and_its_values_cannot_steer_a_terminal() -> None:
    label = Label("lan\x1bg", (f"de{CONTROLS}", "fr\u202e"))
    save("labelled", documents=True, conditions=(label,))
    for command in (["info"], ["classify"], ["classify", "--label", "lan\x1b"]):
        done = charrnn(command[0], "labelled", *command[1:], stdin=b"the cat\n", tty=True)
        assert steering(done.text + done.err) == set()
    done = charrnn("classify", "labelled", "--json", stdin=b"the cat\n")
    assert steering(done.text) == set()
    row = json.loads(done.text)
    assert row["label"] in label.values
    assert set(row["probabilities"]) == set(label.values)


def test_the_header_of_a_checkpoint_cannot_steer_a_terminal() -> None:
    header = checkpoint.read_header(save("tiny"))
    header = replace(header, versions={f"torch{CONTROLS}": CONTROLS}, corpus={"name": CONTROLS})
    header = replace(header, name=CONTROLS, parent={"name": CONTROLS, "weights_sha256": CONTROLS})
    weights = checkpoint.load(Path("checkpoints/tiny", BEST)).weights
    save_checkpoint(Path("checkpoints/tiny", BEST), header, weights)
    for command in (["info", "tiny"], ["runs"], ["runs", "diff", "tiny", "shakespeare"]):
        assert steering(charrnn(*command, tty=True).text) == set()
        shown = charrnn(*command, "--json").text
        assert steering(shown) == set()
    assert json.loads(charrnn("info", "tiny", "--json").text)["parent"]["name"] == CONTROLS


def test_what_a_model_generates_cannot_steer_a_terminal_and_reaches_a_pipe_as_it_is() -> None:
    save("evil", CONTROLS)
    sample = ("sample", "evil", "--seed", "1", "--length", "400", "--prompt", CONTROLS)
    raw = charrnn(*sample).text
    assert raw.startswith(CONTROLS)
    assert set(CONTROLS) <= set(raw[len(CONTROLS) :])
    shown = charrnn(*sample, tty=True)
    assert steering(shown.text) == set()
    assert "\r" not in shown.text
    assert shown.text.startswith("␛]0;pwned␇")
    filled = charrnn("fill", f"the {CONTROLS}_", "--forward", "evil", tty=True)
    assert filled.status == 0
    assert steering(filled.text) == set()


def test_a_shell_is_not_offered_a_name_that_steers_a_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train --resume", "sample", "runs rm"):
        line = f"charrnn {command} "
        monkeypatch.setenv("_CHARRNN_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line.replace(" ", "\n"))
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        charrnn()
        offered = capsys.readouterr().out
        assert steering(offered) == set()
        assert command != "sample" or "shakespeare" in offered


# --- JSON ---


@pytest.mark.parametrize(
    "text",
    [
        "\x7f\x80\x85\x9f\xa0\xad",
        "a\u2028\u2029\u202a\u202e\u2066",
        "\U000e0041\ue000\U0010ffff",
        "\udce9 \ud800",
    ],
)
def test_a_character_that_is_not_printable_is_escaped_and_read_back(text: str) -> None:
    line = json_text({text: text, "é": "日本語 ✓ 👩"})
    assert line.isprintable()
    assert line.isascii() is False
    assert "日本語 ✓ 👩" in line
    assert json.loads(line) == {text: text, "é": "日本語 ✓ 👩"}


def test_json_has_null_for_a_number_that_is_not_finite() -> None:
    values = {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf, "d": 0.1}}
    assert json.loads(json_line(values)) == {"a": [None, 1.5, [None]], "b": {"c": None, "d": 0.1}}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_checkpoint_whose_figures_are_not_finite_is_refused_and_no_json_holds_them(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a header is another program's: charrnn writes none."""
    path = save("tiny")
    save_with(path, monkeypatch, {"validation_bpc": value, "train_nats": value})
    with Path("checkpoints/tiny", history.LOG).open("w") as log:
        log.write(json.dumps({"step": 1, "epoch": 1.0, "validation_nats": value, "train_nats": 1.0}) + "\n")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for command in (
        ["info", "tiny"],
        ["runs", "diff", "tiny", "shakespeare"],
        ["runs", "mv", "tiny", "other"],
    ):
        done = charrnn(*command)
        assert done.status == 1
        (line,) = done.err.splitlines()
        assert "must be a number" in line
    rows = [json.loads(line, parse_constant=refuse) for line in charrnn("runs", "--json").text.splitlines()]
    assert "must be a number" in next(row for row in rows if row["name"] == "tiny")["problem"]


def save_with(path: Path, monkeypatch: pytest.MonkeyPatch, results: dict[str, float]) -> None:
    """Save a checkpoint again, with results that are written as Python writes them."""
    loaded = checkpoint.load(path)
    with monkeypatch.context() as patch:
        patch.setattr("charrnn.runs.tensor_file.json_text", lambda header, **_: json.dumps(header))
        save_checkpoint(path, replace(loaded.header, results=results), loaded.weights)


def test_a_log_holds_no_number_that_is_not_finite() -> None:
    folder = Path("checkpoints/tiny")
    folder.mkdir(parents=True)
    figures = dict.fromkeys(("lr", "gradient_norm", "clipped", "train_nats", "seconds"), math.nan)
    report = history.Report(
        step=1, steps=2, epoch=0.5, characters=9, validation_nats=math.inf, validation_bpc=math.inf,
        characters_per_second=math.nan, best=True, sample="a", **figures,
    )  # fmt: skip
    history.append(folder, report)
    row = json.loads((folder / history.LOG).read_text())
    assert "NaN" not in (folder / history.LOG).read_text()
    assert row["train_nats"] is row["validation_nats"] is None
