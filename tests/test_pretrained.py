"""The models that come with charrnn: small, described, found by name after the user's runs."""

from __future__ import annotations

import json
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from charrnn.runs.checkpoint import load, read_header
from charrnn.runs.find import DEFAULT_MODEL, pretrained
from charrnn.text.catalog import entries
from tests.conftest import TEXT, charrnn

ROOT = Path(__file__).parent.parent
LARGEST = 2_000_000
"""Bytes of a pretrained model, at most."""
NAMES = sorted(pretrained())


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of benchmarks/pretrained.py, which makes these models."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return runpy.run_path(str(ROOT / "benchmarks" / "pretrained.py"))
    finally:
        del sys.path[0]


def test_the_models_are_those_that_the_script_makes(script: dict[str, Any]) -> None:
    assert sorted(script["MODELS"]) == NAMES
    assert DEFAULT_MODEL in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_pretrained_model_is_small_and_of_half_precision(name: str) -> None:
    path = pretrained()[name]
    assert path.stat().st_size <= LARGEST
    with safe_open(path, framework="numpy") as file:
        assert {str(file.get_tensor(key).dtype) for key in file.keys()} == {"float16"}  # noqa: SIM118


@pytest.mark.parametrize("name", NAMES)
def test_its_header_says_how_it_was_trained_and_what_it_reached(name: str, script: dict[str, Any]) -> None:
    header = read_header(pretrained()[name])
    text, *options = shlex.split(script["MODELS"][name])
    assert (header.name, header.corpus["name"], header.resume) == (name, text, None)
    assert text in entries()
    assert 0 < header.results["validation_nats"] < 1.6
    assert header.results["step"] == header.results["steps"]
    settings = header.model.to_dict() | header.training.to_dict()
    for option, value in zip(options[::2], options[1::2], strict=True):
        setting = settings[option.removeprefix("--").replace("-", "_")]
        given = [float(number) for number in value.split(",")]
        assert np.ravel(setting).tolist() == given, option


@pytest.mark.parametrize("name", NAMES)
def test_its_file_holds_no_path_of_the_machine_that_trained_it(name: str) -> None:
    data = pretrained()[name].read_bytes()
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    metadata = json.loads(json.loads(header)["__metadata__"]["charrnn"])
    del metadata["vocabulary"]
    assert "/" not in json.dumps(metadata)


@pytest.mark.slow
def test_the_script_stores_a_run_unless_it_costs_too_much_or_is_too_large(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.txt").write_text(TEXT)
    Path("stored").mkdir()
    names = script["store"].__globals__
    monkeypatch.setitem(names, "MODELS", {"tiny": "text.txt --hidden 8 --steps 4"})
    monkeypatch.setitem(names, "PRETRAINED", Path("stored"))
    script["train"]("tiny", Path("runs"), Path("corpora"))
    for limit, message in {"LARGEST_FILE": "are allowed: try", "LARGEST_COST": "half precision"}.items():
        with monkeypatch.context() as patch:
            patch.setitem(names, limit, -1)
            with pytest.raises(SystemExit, match=message):
                script["store"]("tiny", Path("runs"), Path("corpora"))
    assert not list(Path("stored").iterdir())
    log = Path("runs/tiny/log.jsonl").read_bytes()
    script["train"]("tiny", Path("runs"), Path("corpora"))
    assert Path("runs/tiny/log.jsonl").read_bytes() == log, "the run had ended: it is not trained again"
    script["store"]("tiny", Path("runs"), Path("corpora"))
    single, half = load(Path("runs/tiny/model.safetensors")), load(Path("stored/tiny.safetensors"))
    for name, weight in single.weights.items():
        assert np.array_equal(half.weights[name], weight.astype(np.float16).astype(np.float32))
    assert half.header.results == single.header.results
    assert "| tiny |" in capsys.readouterr().out


def test_the_results_page_has_the_losses_of_the_headers() -> None:
    page = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"| {name} |" in page
        assert f"{read_header(pretrained()[name]).results['validation_nats']:.4f}" in page


def test_without_runs_a_sample_is_of_the_default_model_and_a_note_says_so() -> None:
    done = charrnn("sample", "-n", "30", "-s", "1")
    assert done.status == 0
    assert f"this is {DEFAULT_MODEL}, a model that comes with charrnn" in done.err
    assert done.text == charrnn("sample", DEFAULT_MODEL, "-n", "30", "-s", "1").text


def test_a_run_of_the_same_name_comes_first(run: Path) -> None:
    run.rename(run.with_name(DEFAULT_MODEL))
    facts = json.loads(charrnn("info", DEFAULT_MODEL, "--json").text)
    assert facts["hidden"] == 6


def test_resuming_a_pretrained_model_names_the_command_that_starts_from_it() -> None:
    done = charrnn("train", "--resume", DEFAULT_MODEL)
    assert done.status == 1
    assert f"charrnn train TEXT --from {DEFAULT_MODEL}" in done.err


@pytest.mark.parametrize("name", NAMES)
def test_a_pretrained_model_can_be_looked_into(name: str) -> None:
    facts = json.loads(charrnn("info", name, "--json").text)
    assert (facts["name"], facts["resumable"]) == (name, False)
    shown = charrnn("info", name, tty=True)
    assert shown.status == 0
    assert "nats per character, over epochs" not in shown.text, "there is no log to draw"
    seen = charrnn("inspect-cell", name, "--unit", "3", "--sample", "20", "--json")
    assert len(seen.text.splitlines()) == 20


@pytest.mark.slow
def test_a_pretrained_model_shows_its_gradients_and_starts_another_run() -> None:
    Path("text.txt").write_text(TEXT.replace('"', ""))
    flow = charrnn("gradient-flow", DEFAULT_MODEL, "text.txt", "--length", "20", "--json")
    assert flow.status == 0, flow.err
    trained = charrnn("train", "text.txt", "--from", DEFAULT_MODEL, "--steps", "1")
    assert trained.status == 0, trained.err
    sha256 = read_header(pretrained()[DEFAULT_MODEL]).weights_sha256
    parent = load(Path(trained.text.strip())).header.parent
    assert parent == {"name": DEFAULT_MODEL, "weights_sha256": sha256}
