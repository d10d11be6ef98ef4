"""The laws of training, on texts of a few hundred characters."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn import checkpoint, train
from charrnn.checkpoint import BEST, LAST
from charrnn.config import ModelConfig, TrainConfig
from charrnn.corpus import Corpus, file_source, open_corpus
from charrnn.errors import CharrnnError, CheckpointError, CorpusError
from charrnn.train import Progress, Report, Training, learning_rate
from tests.conftest import TEXT

MODEL = ModelConfig(hidden=12, embedding=6)
PLAIN = {"dropout": 0.0, "weight_drop": 0.0, "precision": "float32"}
CONFIG = TrainConfig(streams=4, bptt=16, steps=20, save_every=7)


def corpus(tmp_path: Path, text: str = TEXT, name: str = "text") -> Corpus:
    path = tmp_path / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    return open_corpus([file_source(path)], path.name)


def trained(tmp_path: Path, name: str = "run", **changes) -> tuple[Training, list[Progress | Report]]:
    model = changes.pop("model", MODEL)
    resume = changes.pop("resume", None)
    text = changes.pop("text", TEXT)
    training = Training(
        corpus(tmp_path, text), model, replace(CONFIG, **changes), tmp_path / name, resume=resume
    )
    return training, list(training.run())


def lines_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def reports(events: list[Progress | Report]) -> list[Report]:
    return [event for event in events if isinstance(event, Report)]


def test_training_learns(tmp_path: Path) -> None:
    _, events = trained(tmp_path, steps=300, save_every=100, lr=0.02, **PLAIN)
    first, *_, last = reports(events)
    assert last.validation_nats < first.validation_nats < math.log(20)
    assert last.validation_nats < 0.7


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru-cho"])
def test_every_cell_learns_with_one_hot_input_and_two_layers(tmp_path: Path, cell: str) -> None:
    model = ModelConfig(cell=cell, layers=2, hidden=12, embedding=0)
    _, events = trained(tmp_path, model=model, steps=60, save_every=30, **PLAIN)
    first, last = reports(events)
    assert last.validation_nats < first.validation_nats < math.log(20)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trained(tmp_path, name, seed=seed)
        tensors = checkpoint.load(tmp_path / name / LAST, resume=True).weights
        files.append({key: value.tobytes() for key, value in tensors.items()})
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_how_often_one_looks_does_not_move_training(tmp_path: Path) -> None:
    weights = []
    for save_every in (1, 5, 100):
        trained(tmp_path, f"run-{save_every}", save_every=save_every)
        weights.append(checkpoint.load(tmp_path / f"run-{save_every}" / LAST, resume=True).weights)
    for other in weights[1:]:
        assert other.keys() == weights[0].keys()
        for name, value in other.items():
            assert (value == weights[0][name]).all(), name


@pytest.mark.parametrize("at", [1, 6, 7, 13, 19])
def test_a_run_stopped_and_resumed_ends_in_the_bytes_of_one_never_stopped(tmp_path: Path, at: int) -> None:
    trained(tmp_path, "whole")
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "cut")
    window = training._window

    def stopping(step: int, lr: float):
        training.stop = step == at - 1
        return window(step, lr)

    training._window = stopping
    list(training.run())
    assert training.step == at
    last = checkpoint.load(tmp_path / "cut" / LAST, resume=True)
    resumed, _ = trained(tmp_path, "cut", resume=last)
    assert resumed.step == CONFIG.steps
    for name in (BEST, LAST):
        one, other = (checkpoint.load(tmp_path / run / name, resume=True) for run in ("whole", "cut"))
        assert {k: v.tobytes() for k, v in one.weights.items()} == {
            k: v.tobytes() for k, v in other.weights.items()
        }
    logs = [lines_of(tmp_path / run / train.LOG) for run in ("whole", "cut")]
    timeless = [
        [{k: v for k, v in line.items() if k not in ("seconds", "characters_per_second")} for line in log]
        for log in logs
    ]
    assert timeless[0] == timeless[1]


def test_a_changed_text_is_not_resumed(tmp_path: Path) -> None:
    trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    with pytest.raises(CheckpointError, match="not the text this run was learning"):
        trained(tmp_path, resume=last, text=TEXT + "!")


def test_the_best_file_cannot_be_resumed_and_says_which_can(tmp_path: Path) -> None:
    trained(tmp_path)
    best = checkpoint.load(tmp_path / "run" / BEST, resume=True)
    with pytest.raises(CheckpointError, match=LAST):
        trained(tmp_path, resume=best)


def test_the_best_validation_is_what_is_kept(tmp_path: Path) -> None:
    _, events = trained(tmp_path, steps=300, save_every=20, lr=0.05)
    best = min(reports(events), key=lambda report: report.validation_nats)
    header = checkpoint.read_header(tmp_path / "run" / BEST)
    assert header.results["validation_nats"] == best.validation_nats
    assert header.results["step"] == best.step
    assert header.results["validation_bpc"] == pytest.approx(best.validation_nats / math.log(2))


def test_each_report_is_a_line_of_the_log(tmp_path: Path) -> None:
    _, events = trained(tmp_path)
    lines = lines_of(tmp_path / "run" / train.LOG)
    assert [line["step"] for line in lines] == [report.step for report in reports(events)] == [7, 14, 20]


def test_the_saved_model_is_the_one_that_was_validated(tmp_path: Path) -> None:
    training, events = trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST)
    for name, value in train.weights(training.model).items():
        assert (last.weights[name] == value).all()
    assert reports(events)[-1].validation_nats == training.validate()


@pytest.mark.parametrize(
    ("budget", "steps"),
    [({"steps": 9}, 9), ({"epochs": 2}, 54), ({"epochs": 0.5}, 14), ({"steps": 9, "epochs": 2}, 9)],
)
def test_the_first_budget_to_be_spent_ends_the_run(tmp_path: Path, budget: dict, steps: int) -> None:
    training, _ = trained(tmp_path, **({"steps": None, "save_every": 100} | budget))
    assert training.step == training.steps == steps


def test_minutes_become_a_number_of_steps_and_the_rehearsal_leaves_no_trace(tmp_path: Path) -> None:
    training, _ = trained(tmp_path, "timed", steps=None, minutes=0.01)
    trained(tmp_path, "counted", steps=training.steps)
    timed, counted = (checkpoint.load(tmp_path / run / LAST, resume=True) for run in ("timed", "counted"))
    assert training.step == training.steps > 1
    for name, value in counted.weights.items():
        assert (timed.weights[name] == value).all(), name


@pytest.mark.parametrize("text", ["ab", "aab", "hello", "ab" * 20, "x" * 50])
def test_a_handful_of_characters_trains(tmp_path: Path, text: str) -> None:
    training, events = trained(tmp_path, text=text)
    assert training.step == CONFIG.steps
    assert reports(events)[-1].best in (True, False)
    assert (tmp_path / "run" / BEST).exists()


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_a_target_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorpusError):
        trained(tmp_path, text=text)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    window = training._window

    def spoilt(step: int, lr: float):
        loss, norm = window(step, lr)
        return (loss * math.nan if step == 10 else loss), norm

    training._window = spoilt
    with pytest.raises(CharrnnError, match=r"no longer a number at step 14.*stays in"):
        list(training.run())
    assert checkpoint.load(tmp_path / "run" / BEST).header.results["step"] == 7


def test_state_is_carried_from_window_to_window_and_cut_off(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0, **PLAIN), tmp_path / "r")
    ids = [training.batches.batch(step)[0] for step in (0, 1)]
    training._window(0, lr=0.0)
    training._window(1, lr=0.0)
    with torch.no_grad():
        _, expected = training.model(torch.from_numpy(np.concatenate(ids, 1)), training.model.start(4))
    for carried, whole in zip(training.carry, expected, strict=True):
        for one, other in zip(carried, whole, strict=True):
            assert not one.requires_grad
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_at_a_new_epoch_a_stream_goes_on_where_the_one_before_it_ended(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0), tmp_path / "r")
    training.carry = tuple(
        tuple(torch.arange(4.0)[:, None].expand(4, 12) + 1 for _ in carry) for carry in training.carry
    )
    ((hidden, _),) = training._begun(training.batches.steps_per_epoch)
    assert hidden[:, 0].tolist() == [0, 1, 2, 3]
    ((hidden, _),) = training._begun(1)
    assert hidden[:, 0].tolist() == [1, 2, 3, 4]


def test_streams_forget_as_often_as_asked(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0.25), tmp_path / "r")
    training.carry = tuple(tuple(torch.ones_like(part) for part in carry) for carry in training.carry)
    steps = [step for step in range(2000) if not training.batches.starts_epoch(step)]
    kept = np.mean([float(training._begun(step)[0][0].mean()) for step in steps])
    assert kept == pytest.approx(0.75, abs=0.02)


def test_the_gradient_is_clipped_to_the_global_norm(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=0.01), tmp_path / "r")
    _, norm = training._window(0, lr=0.0)
    clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in training.model.parameters()))
    assert norm > 0.01
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_the_learning_rate_warms_up_then_falls_to_its_end() -> None:
    config = TrainConfig(lr=1.0, warmup=0.1, final_lr=0.05)
    rates = [learning_rate(step, 200, config) for step in range(200)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == 1
    assert rates[-1] == pytest.approx(0.05, abs=0.002)
