"""charrnn from Python: the exported names, the page that promises them, and what they do."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.config import ModelConfig
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.runs.find import pretrained
from charrnn.runs.history import Report
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, random_weights
from tests.conftest import charrnn as command

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def model(run: Path) -> charrnn.Model:
    return charrnn.load("tiny")


# --- what is exported ---


def test_importing_charrnn_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import charrnn; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "charrnn charrnn.version\n"


@pytest.mark.slow
def test_reading_a_model_never_imports_torch(run: Path) -> None:
    code = (
        "import sys, charrnn; charrnn.load('tiny').generate('the', length=3); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_page_promises_exactly_the_exported_names() -> None:
    table = re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE)
    promised = {name for row in table for name in re.findall(r"`(\w+)[^`]*`", row)}
    assert promised == set(charrnn.__all__)


def test_every_exported_name_exists_and_is_documented() -> None:
    for name in charrnn.__all__:
        value = getattr(charrnn, name)
        assert isinstance(value, str) or inspect.getdoc(value), name
    assert set(charrnn.__all__) <= set(dir(charrnn))
    with pytest.raises(AttributeError, match="no attribute 'sample'"):
        charrnn.sample  # noqa: B018


def test_no_exported_name_is_that_of_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(charrnn.__path__)}
    assert not modules & set(charrnn.__all__)


def test_the_page_names_every_option_and_every_public_attribute() -> None:
    names = set(charrnn.Sampling.__annotations__)
    names |= {name for name in vars(charrnn.Model) if not name.startswith("_")}
    shown = set(re.findall(r"\w+", PAGE))
    assert names <= shown, names - shown


@pytest.mark.slow
def test_the_code_of_the_page_runs_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS) == PAGE.count("```python") >= 6
    names: dict[str, object] = {}
    for block in BLOCKS:
        assert len(block.splitlines()) <= 13
        exec(compile(block, "docs/python.md", "exec"), names)
    assert "did you mean shakespeare?" in capsys.readouterr().out


# --- load ---


def test_load_finds_runs_before_pretrained_models_and_models_lists_both(run: Path) -> None:
    assert charrnn.models() == ["tiny", *pretrained()]
    run.rename(run.with_name("shakespeare"))
    assert charrnn.models()[0] == "shakespeare"
    assert charrnn.models().count("shakespeare") == 1
    assert charrnn.load("shakespeare").path == run.with_name("shakespeare") / BEST


def test_load_takes_a_path_and_another_folder_of_runs(run: Path) -> None:
    here = charrnn.load(run / BEST)
    there = charrnn.load("tiny", checkpoints=run.parent.rename("elsewhere"))
    assert here.name == there.name == "tiny"
    assert repr(here) == "<charrnn.Model tiny: lstm 2 x 6>"
    assert here.symbols == "".join(sorted(set(TEXT) | {"é"}))
    assert there.info["hidden"] == 6


def test_an_unknown_name_is_a_checkpoint_error(run: Path) -> None:
    with pytest.raises(charrnn.CheckpointError, match="did you mean tiny"):
        charrnn.load("tiney")


# --- generate ---


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"temperature": 0.5, "final_temperature": 1.5}, ["--temperature", "0.5:1.5"]),
        ({"stop": ["a", "e"], "keep_stop": True, "min_length": 2}, ["--stop=a", "--stop=e", "--keep-stop"]),
        ({"allow": "the ", "top_k": 3}, ["--allow", "the ", "--top-k", "3"]),
        ({"ban": "the ", "top_p": 0.9}, ["--ban", "the ", "--top-p", "0.9"]),
        ({"match": "[a-e]{3} [a-e]{2}"}, ["--match", "[a-e]{3} [a-e]{2}"]),
        ({"repeat_penalty": 2.0, "repeat_window": 5}, ["--repeat-penalty", "2", "--repeat-window", "5"]),
        ({"no_repeat": 2, "min_p": 0.01, "typical": 0.9}, ["--no-repeat=2", "--min-p=.01", "--typical=.9"]),
    ],
    ids=str,
)
def test_generate_gives_the_text_of_the_command(
    model: charrnn.Model, options: charrnn.Sampling, arguments: list[str]
) -> None:
    if "min_length" in options:
        arguments = [*arguments, "--min-length", "2"]
    for prompt in ("", "the cat"):
        text = model.generate(prompt, **({"length": 40, "seed": 3} | options))
        sampled = command("sample", "-p", prompt, "-n", "40", "-s", "3", "--no-echo", *arguments)
        assert sampled.text == text, sampled.err


def test_the_pieces_of_a_stream_are_the_text(model: charrnn.Model) -> None:
    assert "".join(model.stream("the", length=30, seed=1)) == model.generate("the", length=30, seed=1)
    endless = model.stream("the", length=0, seed=1)
    assert "".join(next(endless) for _ in range(30)) == model.generate("the", length=30, seed=1)


def test_a_byte_level_model_generates_whole_characters(tmp_path: Path) -> None:
    vocabulary = Vocabulary("\n" + "".join(sorted(map(chr, "aé€".encode()))), byte_level=True)
    config = ModelConfig(hidden=6, embedding=0)
    save_checkpoint(tmp_path / "bytes", Header(config, vocabulary), random_weights(config, len(vocabulary)))
    model = charrnn.load(tmp_path / "bytes")
    pieces = list(model.stream(match="[aé€]{20}", length=60, seed=1))
    assert re.fullmatch("[aé€]{20}", "".join(pieces))
    assert all(pieces)
    assert model.log_probabilities("é").shape == (2,)


def test_without_a_seed_each_text_is_another(model: charrnn.Model) -> None:
    assert model.generate(length=30) != model.generate(length=30)


def test_mistakes_in_options_are_raised_at_once(model: charrnn.Model) -> None:
    with pytest.raises(charrnn.ConfigError, match="top-p"):
        model.stream(top_p=2.0)
    with pytest.raises(charrnn.ConfigError, match="never ends"):
        model.generate(length=0)
    with pytest.raises(charrnn.UnknownCharacterError, match="'Z'"):
        model.stream("Z")
    with pytest.raises(TypeError, match="lengths"):
        model.generate(lengths=3)  # type: ignore[call-arg]
    with pytest.warns(UserWarning, match="'Z' has no effect") as warned:
        model.generate(ban="Z", length=1)
    assert warned[0].filename == __file__


# --- score and look inside ---


def test_scores_are_those_of_the_sample_that_gave_the_text(model: charrnn.Model) -> None:
    sampled = command("sample", "-n", "40", "-s", "3", "--scores").text
    line = json.loads(sampled)
    scores = model.log_probabilities(line["text"])
    assert scores == pytest.approx(np.array(line["log_probabilities"]), abs=1e-4)
    assert model.bits_per_character(line["text"]) == pytest.approx(-scores.mean() / math.log(2))


def test_the_probabilities_of_all_characters_sum_to_one(model: charrnn.Model) -> None:
    for beginning in ("", "the c"):
        total = sum(math.exp(model.log_probabilities(beginning + symbol)[-1]) for symbol in model.symbols)
        assert total == pytest.approx(1)


def test_a_long_text_is_scored_as_its_parts_in_one_reading(model: charrnn.Model) -> None:
    text = TEXT[:1200]
    assert model.log_probabilities(text)[:600] == pytest.approx(model.log_probabilities(text[:600]))
    assert model.log_probabilities("").shape == (0,)


def test_the_values_of_a_unit_are_those_of_inspect_cell(model: charrnn.Model) -> None:
    Path("text.txt").write_text("the cat")
    for signal in ("memory", "forget"):
        shown = command(
            "inspect-cell", "tiny", "text.txt", "--layer=1", "--unit=2", f"--of={signal}", "--json"
        )
        values = [float(value) for value in re.findall(r'"value": ([-\d.e]+)', shown.text)]
        assert model.unit("the cat", 2, layer=1, signal=signal) == pytest.approx(np.array(values), abs=1e-6)
    assert model.unit("the cat", 2) == pytest.approx(model.unit("the cat", 2, 0, "memory"))
    with pytest.raises(charrnn.ConfigError, match="unit"):
        model.unit("the cat", 6)


# --- train ---


@pytest.mark.slow
def test_train_does_what_the_command_does() -> None:
    Path("text.txt").write_text(TEXT)
    reports: list[Report] = []
    settings: dict[str, Any] = {
        "steps": 4,
        "hidden": 8,
        "streams": 4,
        "bptt": 16,
        "save_every": 2,
        "dropout": 0.1,
    }
    model = charrnn.train(Path("text.txt"), on_report=reports.append, **settings)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    done = command("train", "text.txt", *options)
    assert done.status == 0, done.err
    assert (model.name, model.path) == ("text", Path("checkpoints/text").absolute() / BEST)
    twin = charrnn.load(done.text.strip())
    assert twin.name == "text-2"
    assert twin.info["weights_sha256"] == model.info["weights_sha256"]
    assert [report.step for report in reports] == [2, 4]
    resumed = command("train", "--resume", "text")
    assert "this run ended" in resumed.err


@pytest.mark.slow
def test_a_run_on_bytes_is_named_and_resumed_as_on_the_command_line() -> None:
    path = Path("my text.v2.txt")
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    model = charrnn.train(path, byte_level=True, hidden=8, steps=2)
    assert model.name == "my-text.v2"
    assert command("train", "--resume", "my-text.v2", "--steps", "1").status == 0


def test_a_run_needs_the_name_of_one_folder() -> None:
    for name in ("", "a/b", ".hidden"):
        with pytest.raises(charrnn.ConfigError, match="plain folder name"):
            charrnn.train(TEXT, name)


@pytest.mark.slow
def test_train_learns_a_string_and_chooses_what_is_left_open() -> None:
    model = charrnn.train(TEXT, "mine", steps=2, checkpoints="runs")
    assert model.path == Path("runs/mine").absolute() / BEST
    assert (model.info["corpus"], model.info["hidden"]) == ("text", 64)
    assert charrnn.models("runs")[0] == "mine"


@pytest.mark.slow
def test_train_chooses_no_weight_drop_for_a_cell_without_recurrent_weights() -> None:
    model = charrnn.train(TEXT, cell="mingru", hidden=8, steps=1)
    assert model.info["training"]["weight_drop"] == 0


@pytest.mark.slow
def test_train_learns_a_tiny_text_by_heart() -> None:
    model = charrnn.train("hello")
    assert model.generate("h", length=4, temperature=0) == "ello"


def test_train_refuses_what_it_does_not_know_and_leaves_no_folder() -> None:
    with pytest.raises(charrnn.ConfigError, match="unknown setting hiddens"):
        charrnn.train(TEXT, hiddens=3)
    with pytest.raises(charrnn.ConfigError, match="plain folder name"):
        charrnn.train(TEXT, "../up")
    with pytest.raises(charrnn.ConfigError, match="no text"):
        charrnn.train([])
    with pytest.raises(charrnn.CorpusError, match="nowhere"):
        charrnn.train(Path("nowhere.txt"))
    with pytest.raises(charrnn.CorpusError, match="at least 2"):
        charrnn.train("a")
    assert not Path("checkpoints").exists()
