"""The laws of training, on texts of a few hundred characters."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CharrnnError, CheckpointError, CorpusError
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.runs.history import LOG, Report
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import file_source
from charrnn.training.budget import rate
from charrnn.training.train import LOCK, Notice, Progress, Training
from tests.conftest import TEXT

MODEL = ModelConfig(hidden=12, embedding=6)
PLAIN = {"muon": 0.0, "dropout": 0.0, "weight_drop": 0.0, "precision": "float32"}
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


@pytest.mark.parametrize("cell", cells.names())
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
    window = training.learner.train_step

    def stopping(step: int, share: float):
        training.stop = step == at - 1
        return window(step, share)

    training.learner.train_step = stopping
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
    logs = [lines_of(tmp_path / run / LOG) for run in ("whole", "cut")]
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
    lines = lines_of(tmp_path / "run" / LOG)
    assert [line["step"] for line in lines] == [report.step for report in reports(events)] == [7, 14, 20]


def test_the_saved_model_is_the_one_that_was_validated(tmp_path: Path) -> None:
    training, events = trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST)
    for name, value in training.learner.weights().items():
        assert (last.weights[name] == value).all()
    assert reports(events)[-1].validation_nats == training.learner.validate()


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
    told = reports(events)
    assert [report.best for report in told] == [
        report.train_nats < min((before.train_nats for before in told[:k]), default=math.inf)
        if report.validation_nats is None
        else report.validation_nats < min((before.validation_nats for before in told[:k]), default=math.inf)
        for k, report in enumerate(told)
    ]
    assert told[0].best
    loaded = checkpoint.load(tmp_path / "run" / BEST)
    assert loaded.header.results["step"] == max(report.step for report in told if report.best)
    assert (tmp_path / "run" / BEST).exists()


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_a_target_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorpusError):
        trained(tmp_path, text=text)


def spoil(training: Training, when) -> None:
    """Make the loss of the steps for which ``when(step, share)`` holds no number, and the weights too."""
    learn = training.learner.train_step

    def spoilt(step: int, share: float):
        loss, norm = learn(step, share)
        if when(step, share):
            with torch.no_grad():
                training.learner.model.readout.bias.fill_(math.nan)
            loss = loss * math.nan
        return loss, norm

    training.learner.train_step = spoilt


def test_a_lost_loss_goes_back_to_the_last_report_with_half_the_rate_and_on_to_the_end(
    tmp_path: Path,
) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    full = rate(10, CONFIG.steps, CONFIG)
    spoil(training, lambda step, share: step == 10 and share > full * 0.3)
    events = list(training.run())
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert len(notices) == 2
    assert "at step 14 the loss is nan: back to step 7, with 0.5 of the learning rate" in notices[0]
    assert "back to step 7, with 0.25 of" in notices[1]
    assert [report.step for report in reports(events)] == [7, 14, 20]
    assert reports(events)[1].lr == pytest.approx(CONFIG.lr * rate(13, CONFIG.steps, CONFIG) / 4)
    assert math.isfinite(reports(events)[-1].validation_nats)


def test_going_back_is_as_if_the_lost_steps_had_not_been(tmp_path: Path) -> None:
    halved = replace(CONFIG, lr=CONFIG.lr / 2, muon=CONFIG.muon / 2)
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "lost")
    spoil(training, lambda step, share: step == 3 and training.rollbacks == 0)
    list(training.run())
    list(Training(corpus(tmp_path), MODEL, halved, tmp_path / "halved").run())
    lost, plain = (checkpoint.load(tmp_path / run / LAST) for run in ("lost", "halved"))
    for name, value in plain.weights.items():
        assert (lost.weights[name] == value).all(), name


def test_after_three_rollbacks_the_run_gives_up_and_keeps_the_best(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    spoil(training, lambda step, share: step == 10)
    events = []
    with pytest.raises(CharrnnError, match=r"loss is nan, after 3 rollbacks: try a lower --lr.*stays in"):
        events.extend(training.run())
    assert checkpoint.load(tmp_path / "run" / BEST).header.results["step"] == 7
    assert checkpoint.load(tmp_path / "run" / LAST).header.results["step"] == 7


def test_a_loss_far_above_a_guess_counts_as_lost(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=0, **PLAIN, lr=50.0), tmp_path / "run")
    with contextlib.suppress(CharrnnError):
        for event in training.run():
            if isinstance(event, Notice):
                break
    assert isinstance(event, Notice)


@pytest.mark.parametrize("name", [BEST, LAST])
def test_a_full_disk_leaves_the_last_save_and_training_goes_on_and_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    atomic_write = os.replace
    full = [False]

    def refusing(source, target) -> None:
        if full[0] and Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        atomic_write(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    notices = []
    for event in training.run():
        if isinstance(event, Notice):
            notices.append(event.text)
            assert checkpoint.load(tmp_path / "run" / name).header.results["step"] == 7
            full[0] = False
        elif isinstance(event, Report) and event.step == 7:
            full[0] = True
    (notice,) = notices
    assert "No space left on device; what was saved before stays, and saving is tried again" in notice
    trained(tmp_path, "whole")
    for file in (BEST, LAST):
        one, other = (checkpoint.load(tmp_path / run / file) for run in ("run", "whole"))
        assert one.header.results["step"] == other.header.results["step"]
        assert [line["step"] for line in lines_of(tmp_path / "run" / LOG)] == [7, 14, 20]
        assert all((one.weights[key] == other.weights[key]).all() for key in one.weights)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted([BEST, LAST, LOG, LOCK])


def test_a_disk_that_is_full_at_the_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    events = training.run()
    for event in events:
        if isinstance(event, Report) and event.step == 14:
            monkeypatch.setattr(os, "replace", refuse)
            break
    with pytest.raises(CheckpointError, match="No space left on device"):
        list(events)


def refuse(source, target) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_second_training_of_the_same_run_is_refused(tmp_path: Path) -> None:
    first = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run()
    next(first)
    with pytest.raises(CharrnnError, match="is being trained by another process"):
        next(Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run())
    first.close()
    next(Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run())


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path: Path) -> None:
    training, events = trained(tmp_path, steps=2000, save_every=20, lr=0.05, patience=2, **PLAIN)
    bests = [report.best for report in reports(events)]
    assert training.done
    assert training.step < 2000
    assert bests[-2:] == [False, False]
    assert training.stale == 2


def test_the_last_state_is_saved_by_time_too(tmp_path: Path) -> None:
    training = Training(
        corpus(tmp_path), MODEL, replace(CONFIG, save_every=100, save_minutes=1e-9), tmp_path / "r"
    )
    seen = set()
    for event in training.run():
        if isinstance(event, Progress):
            seen.add(checkpoint.read_header(tmp_path / "r" / LAST).results["step"])
    assert len(seen) > 10


def test_state_is_carried_from_window_to_window_and_cut_off(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0, **PLAIN), tmp_path / "r")
    ids = [training.learner.batches.batch(step)[0] for step in (0, 1)]
    training.learner.train_step(0, 0.0)
    training.learner.train_step(1, 0.0)
    with torch.no_grad():
        _, expected = training.learner.model(
            torch.from_numpy(np.concatenate(ids, 1)), training.learner.model.start(4)
        )
    for carried, whole in zip(training.learner.carry, expected, strict=True):
        for one, other in zip(carried, whole, strict=True):
            assert not one.requires_grad
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_at_a_new_epoch_a_stream_goes_on_where_the_one_before_it_ended(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0), tmp_path / "r")
    training.learner.carry = tuple(
        tuple(torch.arange(4.0)[:, None].expand(4, 12) + 1 for _ in carry) for carry in training.learner.carry
    )
    ((hidden, _),) = training.learner.initial_state(training.learner.batches.steps_per_epoch)
    assert hidden[:, 0].tolist() == [0, 1, 2, 3]
    ((hidden, _),) = training.learner.initial_state(1)
    assert hidden[:, 0].tolist() == [1, 2, 3, 4]


def test_streams_forget_as_often_as_asked(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0.25), tmp_path / "r")
    training.learner.carry = tuple(
        tuple(torch.ones_like(part) for part in carry) for carry in training.learner.carry
    )
    steps = [step for step in range(2000) if not training.learner.batches.starts_epoch(step)]
    kept = np.mean([float(training.learner.initial_state(step)[0][0].mean()) for step in steps])
    assert kept == pytest.approx(0.75, abs=0.02)


def test_the_gradient_is_clipped_to_the_global_norm(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=0.01), tmp_path / "r")
    _, norm = training.learner.train_step(0, 0.0)
    clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in training.learner.model.parameters()))
    assert norm > 0.01
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_the_learning_rate_warms_up_then_falls_to_its_end() -> None:
    config = TrainConfig(warmup=0.1, final_lr=0.05)
    rates = [rate(step, 200, config) for step in range(200)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == 1
    assert rates[-1] == pytest.approx(0.05, abs=0.002)
