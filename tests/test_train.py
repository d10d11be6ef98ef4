"""Training, on texts of a few thousand characters or fewer."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn import cells
from charrnn.config import LEARNING_RATES, ModelConfig, TrainConfig
from charrnn.errors import CharrnnError, CheckpointError, CorpusError
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.runs.history import LOG, Report
from charrnn.runs.lock import LOCK, RunLock
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import file_source
from charrnn.training import learner, train
from charrnn.training.run_state import LATER, RunState
from charrnn.training.schedule import begin_stage, lr_factor
from charrnn.training.text_data import TextData
from charrnn.training.train import DIVERGENCE, Event, Notice, Progress, Training
from tests.conftest import TEXT

MODEL = ModelConfig(hidden=12, embedding=6)
PLAIN: dict[str, Any] = {"optimizer": "adamw", "dropout": 0.0, "weight_drop": 0.0, "precision": "float32"}
STEPS = 20
CONFIG = TrainConfig(streams=4, bptt=16, steps=STEPS, save_every=7)


def corpus(tmp_path: Path, text: str = TEXT, name: str = "text") -> Corpus:
    path = tmp_path / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    return open_corpus([file_source(path)], path.name)


def trained(tmp_path: Path, name: str = "run", **changes: Any) -> tuple[Training, list[Event]]:
    model = changes.pop("model", MODEL)
    resume = changes.pop("resume", None)
    text = changes.pop("text", TEXT)
    training = Training(
        corpus(tmp_path, text), model, replace(CONFIG, **changes), tmp_path / name, resume=resume
    )
    return training, list(training.run())


def data_of(training: Training) -> TextData:
    """How a training reads its one long text."""
    assert isinstance(training.learner.data, TextData)
    return training.learner.data


def lines_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def reports(events: list[Event]) -> list[Report]:
    return [event for event in events if isinstance(event, Report)]


def validation(report: Report) -> float:
    """The report's validation loss, where there is one."""
    assert report.validation_nats is not None
    return report.validation_nats


def same_weights(one: Path, other: Path, resume: bool = False) -> bool:
    """Whether two checkpoints hold the same tensors, byte for byte."""
    tensors = [checkpoint.load(path, resume).weights for path in (one, other)]
    return tensors[0].keys() == tensors[1].keys() and all(
        array.tobytes() == tensors[1][name].tobytes() for name, array in tensors[0].items()
    )


@pytest.mark.slow
def test_training_learns(tmp_path: Path) -> None:
    _, events = trained(tmp_path, steps=300, save_every=100, lr=0.02, **PLAIN)
    first, *_, last = reports(events)
    assert validation(last) < validation(first) < math.log(20)
    assert validation(last) < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells.names())
def test_every_cell_learns_with_one_hot_input_and_two_layers(tmp_path: Path, cell: str) -> None:
    model = ModelConfig(cell=cell, layers=2, hidden=12, embedding=0)
    _, events = trained(tmp_path, model=model, steps=60, save_every=30, **PLAIN)
    first, last = reports(events)
    assert validation(last) < validation(first) < math.log(20)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trained(tmp_path, name, seed=seed)
    a, b, c = (tmp_path / name / LAST for name in "abc")
    assert same_weights(a, b, resume=True)
    assert not same_weights(a, c)


@pytest.mark.slow
def test_the_number_of_reports_does_not_change_training(tmp_path: Path) -> None:
    for save_every in (1, 5, 100):
        trained(tmp_path, f"run-{save_every}", save_every=save_every)
    files = [tmp_path / f"run-{save_every}" / LAST for save_every in (1, 5, 100)]
    assert same_weights(files[0], files[1], resume=True)
    assert same_weights(files[0], files[2], resume=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop_step", "optimizer", "attention"),
    [
        *[(1, "muon", 0), (6, "adamw", 0), (6, "sgd", 0), (7, "muon", 0), (13, "sgd", 0), (19, "muon", 0)],
        *[(7, "muon", 16), (13, "adamw", 5)],
    ],
)
def test_a_run_stopped_and_resumed_ends_in_the_bytes_of_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_step: int, optimizer: str, attention: int
) -> None:
    model = replace(MODEL, attention=attention)
    changes: dict[str, Any] = {"optimizer": optimizer, "lr": LEARNING_RATES[optimizer], "clip": 0.3}
    _, events = trained(tmp_path, "whole", model=model, **changes)
    training = Training(corpus(tmp_path), model, replace(CONFIG, **changes), tmp_path / "cut")
    train_step = training.learner.train_step

    def stopping(step: int, lr_factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        training.stop = step == stop_step - 1
        return train_step(step, lr_factor)

    monkeypatch.setattr(training.learner, "train_step", stopping)
    list(training.run())
    assert training.step == stop_step
    if stop_step < reports(events)[0].step:
        assert checkpoint.read_header(tmp_path / "cut" / BEST).results["step"] == stop_step
    last = checkpoint.load(tmp_path / "cut" / LAST, resume=True)
    resumed, _ = trained(tmp_path, "cut", model=model, resume=last, **changes)
    assert resumed.step == STEPS
    for name in (BEST, LAST):
        assert same_weights(tmp_path / "whole" / name, tmp_path / "cut" / name, resume=True)
    logs = [lines_of(tmp_path / run / LOG) for run in ("whole", "cut")]
    for line in logs[0] + logs[1]:
        del line["seconds"], line["characters_per_second"]
    assert logs[0] == logs[1]


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


def test_a_state_to_resume_from_that_lacks_a_key_or_a_tensor_names_it(tmp_path: Path) -> None:
    trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    values = {key: value for key, value in (last.header.resume or {}).items() if key != "step"}
    arrays = {name: array for name, array in last.weights.items() if name != "resume.generator"}
    without_step = replace(last, header=replace(last.header, resume=values))
    for damaged, name in ((without_step, "step"), (replace(last, weights=arrays), "resume.generator")):
        with pytest.raises(
            CheckpointError, match=rf"the state to resume from is damaged: '{name}' is missing$"
        ):
            trained(tmp_path, resume=damaged)


@pytest.mark.slow
def test_the_best_validation_is_what_is_kept(tmp_path: Path) -> None:
    _, events = trained(tmp_path, steps=300, save_every=20, lr=0.05)
    best = min(reports(events), key=validation)
    header = checkpoint.read_header(tmp_path / "run" / BEST)
    assert header.results["validation_nats"] == best.validation_nats
    assert header.results["step"] == best.step
    assert header.results["validation_bpc"] == pytest.approx(validation(best) / math.log(2))


@pytest.mark.slow
def test_a_report_validates_on_the_beginning_of_a_long_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "VALIDATED", 40)
    training, events = trained(tmp_path, split=(50, 50, 0))
    whole = training.learner.validation_part
    assert len(whole) > 40
    first = training.learner.validate(range(whole.start, whole.start + 40))
    assert reports(events)[-1].validation_nats == first != training.learner.validate(whole)


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


@pytest.mark.slow
def test_minutes_become_a_number_of_steps_and_the_rehearsal_leaves_no_trace(tmp_path: Path) -> None:
    training, _ = trained(tmp_path, "timed", steps=None, minutes=0.01)
    trained(tmp_path, "counted", steps=training.steps)
    assert training.step == training.steps > 1
    assert same_weights(tmp_path / "timed" / LAST, tmp_path / "counted" / LAST, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["ab", "aab", "hello", "ab" * 20, "x" * 50])
def test_a_handful_of_characters_trains(tmp_path: Path, text: str) -> None:
    training, events = trained(tmp_path, text=text)
    assert training.step == STEPS
    losses = [
        report.train_nats if report.validation_nats is None else report.validation_nats
        for report in reports(events)
    ]
    bests = [loss < min(losses[:index], default=math.inf) for index, loss in enumerate(losses)]
    assert [report.best for report in reports(events)] == bests
    header = checkpoint.load(tmp_path / "run" / BEST).header
    assert header.results["step"] == max(report.step for report in reports(events) if report.best)


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_a_target_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorpusError):
        trained(tmp_path, text=text)


def spoil(training: Training, monkeypatch: pytest.MonkeyPatch, when: Callable[[int, float], bool]) -> None:
    """Make the loss of the steps for which ``when(step, lr_factor)`` holds NaN, and a weight too."""
    train_step = training.learner.train_step

    def spoilt(step: int, lr_factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        loss, norm = train_step(step, lr_factor)
        if when(step, lr_factor):
            with torch.no_grad():
                training.learner.model.readout.bias.fill_(math.nan)
            loss = loss * math.nan
        return loss, norm

    monkeypatch.setattr(training.learner, "train_step", spoilt)


def test_after_a_divergence_the_run_returns_to_the_last_report_with_half_the_rate_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "PROGRESS_SECONDS", math.inf)  # losses are read at reports only
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    full = lr_factor(10, RunState(steps=STEPS, report_every=1), CONFIG)
    spoil(training, monkeypatch, lambda step, factor: step == 10 and factor > full * 0.3)
    events = list(training.run())
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices == [
        f"the loss is nan at step 14: back to step 7, with {factor} times the learning rate"
        for factor in (0.5, 0.25)
    ]
    assert [report.step for report in reports(events)] == [7, 14, 20]
    assert reports(events)[1].lr == pytest.approx(
        CONFIG.lr * lr_factor(13, RunState(steps=STEPS, report_every=1), CONFIG) / 4
    )
    assert math.isfinite(validation(reports(events)[-1]))


def test_a_rollback_leaves_no_trace_of_the_diverged_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved = replace(CONFIG, lr=CONFIG.lr / 2, muon=CONFIG.muon / 2)
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "diverged")
    spoil(training, monkeypatch, lambda step, factor: step == 3 and training.state.rollbacks == 0)
    list(training.run())
    assert training.state.rollbacks == 1
    list(Training(corpus(tmp_path), MODEL, halved, tmp_path / "halved").run())
    assert same_weights(tmp_path / "diverged" / LAST, tmp_path / "halved" / LAST)


def test_after_three_rollbacks_the_run_ends_with_an_error_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    spoil(training, monkeypatch, lambda step, factor: step == 10)
    events: list[Event] = []
    with pytest.raises(CharrnnError, match=r"loss is nan .* after 3 rollbacks: try a lower --lr.*best.* in"):
        events.extend(training.run())
    assert [event.text.rsplit(" with ")[1] for event in events if isinstance(event, Notice)] == [
        f"{factor} times the learning rate" for factor in (0.5, 0.25, 0.125)
    ]
    assert checkpoint.load(tmp_path / "run" / BEST).header.results["step"] == 7
    assert checkpoint.load(tmp_path / "run" / LAST).header.results["step"] == 7


def test_a_finite_loss_far_above_that_of_a_guess_is_a_divergence(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=0, **PLAIN, lr=50.0), tmp_path / "run")
    notice = next(event for event in training.run() if isinstance(event, Notice))
    loss = float(notice.text.removeprefix("the loss is ").split()[0])
    assert DIVERGENCE * math.log(len(training.corpus.vocabulary)) < loss < math.inf


@pytest.mark.parametrize("rates", [{"muon": 1e12}, {"lr": 1e12, "optimizer": "adamw"}])
@pytest.mark.parametrize("steps", [1, 10])
def test_weights_that_load_would_refuse_are_never_saved(tmp_path: Path, rates: dict, steps: int) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, steps=steps, **rates), tmp_path / "run")
    with pytest.raises(CharrnnError, match="after 3 rollbacks: try a lower --lr"):
        list(training.run())
    assert checkpoint.load(tmp_path / "run" / LAST, resume=True).header.results["step"] == 0
    assert not (tmp_path / "run" / BEST).exists()


def test_a_stop_saves_no_weights_that_load_would_refuse(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, muon=1e12), tmp_path / "run")
    training.stop = True
    notices = [event.text for event in training.run() if isinstance(event, Notice)]
    assert "holds values that are not finite or too large" in notices[0]
    assert checkpoint.load(tmp_path / "run" / LAST, resume=True).header.results["step"] == 0


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("generator", np.zeros(5056, np.int64)),
        ("generator", np.zeros(5056, np.uint8)),
        ("generator", np.zeros(7, np.uint8)),
        ("carry.0.hidden", np.zeros((4, 12), np.float64)),
        ("optimizer.readout.bias.exp_avg_sq", np.full(17, -1, np.float32)),
        ("optimizer.readout.bias.exp_avg", np.full(17, 1e10, np.float32)),
        ("optimizer.layers.0.weight_hh.momentum", np.full((48, 12), np.nan, np.float32)),
    ],
)
def test_a_damaged_tensor_to_resume_from_changes_no_file(
    tmp_path: Path, name: str, array: np.ndarray
) -> None:
    trained(tmp_path)
    path = tmp_path / "run" / LAST
    last = checkpoint.load(path, resume=True)
    assert f"resume.{name}" in last.weights
    checkpoint.save_checkpoint(path, last.header, last.weights | {f"resume.{name}": array})
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(CheckpointError):
        trained(tmp_path, resume=checkpoint.load(path, resume=True), steps=40)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_run_whose_origin_reads_other_symbols_is_not_resumed(tmp_path: Path) -> None:
    trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    vocabulary = replace(last.header.vocabulary, byte_level=True)
    with pytest.raises(CheckpointError, match="the text has other symbols than the model"):
        trained(tmp_path, resume=replace(last, header=replace(last.header, vocabulary=vocabulary)))


def test_a_model_that_is_sure_and_wrong_about_a_new_text_is_no_divergence(tmp_path: Path) -> None:
    _, events = trained(tmp_path, "sure", text="ab" * 50)
    sure = checkpoint.load(tmp_path / "sure" / BEST)
    sure.weights["readout.bias"][:] = [20.0, -20.0]
    training = Training(corpus(tmp_path, "b" * 99 + "a"), MODEL, CONFIG, tmp_path / "run", pretrained=sure)
    events = list(training.run())
    assert reports(events)[0].train_nats > DIVERGENCE * math.log(2)
    assert not [event for event in events if isinstance(event, Notice)]


class FullDisk:
    """A disk that, while ``full``, refuses the file called ``name``, or every file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
        self.name, self.full, self.replace = name, False, os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source: str, target: Path) -> None:
        if self.full and self.name in ("", target.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.replace(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("name", [BEST, LAST])
def test_on_a_full_disk_training_continues_and_saves_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    disk = FullDisk(monkeypatch, name)
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    notices = []
    for event in training.run():
        if isinstance(event, Notice):
            notices.append(event.text)
            assert checkpoint.load(tmp_path / "run" / name).header.results["step"] == 7
            disk.full = False
        elif isinstance(event, Report) and event.step == 7:
            disk.full = True
    (notice,) = notices
    assert "No space left on device; the files saved before are kept, and saving is tried again" in notice
    trained(tmp_path, "whole")
    for file in (BEST, LAST):
        headers = [checkpoint.read_header(tmp_path / run / file) for run in ("run", "whole")]
        assert headers[0].results["step"] == headers[1].results["step"]
        assert same_weights(tmp_path / "run" / file, tmp_path / "whole" / file)
    assert [line["step"] for line in lines_of(tmp_path / "run" / LOG)] == [7, 14, 20]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted([BEST, LAST, LOG, LOCK])


def test_the_next_save_by_time_writes_what_the_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(train, "PROGRESS_SECONDS", 0.0)
    disk = FullDisk(monkeypatch)
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    for event in training.run():
        if isinstance(event, Report) and event.step == 7:
            disk.full = True
        elif isinstance(event, Report) and event.step == 14:
            assert [line["step"] for line in lines_of(tmp_path / "run" / LOG)] == [7]
            disk.full = False
        elif isinstance(event, Progress) and event.step == 16:
            break
    assert [line["step"] for line in lines_of(tmp_path / "run" / LOG)] == [7, 14]
    assert checkpoint.read_header(tmp_path / "run" / BEST).results["step"] == 14
    assert checkpoint.read_header(tmp_path / "run" / LAST).results["step"] == 15


@pytest.mark.parametrize("name", [BEST, LAST])
def test_a_disk_that_is_full_at_the_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    disk = FullDisk(monkeypatch, name)
    events = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run()
    for event in events:
        if isinstance(event, Report) and event.step == 14:
            disk.full = True
            break
    with pytest.raises(CheckpointError, match=rf"{name}: No space left on device") as caught:
        list(events)
    assert f"to go on from the last save: charrnn train --resume {tmp_path / 'run'}" in str(caught.value)


def train_and_at_step_7(tmp_path: Path, happening: Callable[[], object]) -> list[Event]:
    """Train, and let something happen directly after the first report."""
    training, events = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run"), []
    for event in training.run():
        events.append(event)
        if isinstance(event, Report) and event.step == 7:
            happening()
    assert checkpoint.load(training.folder / LAST, resume=True).header.results["step"] == STEPS
    return events


@pytest.mark.slow
@pytest.mark.parametrize("removed", [shutil.rmtree, lambda run: run.rename(run.with_name("elsewhere"))])
def test_a_folder_that_vanishes_is_made_anew(tmp_path: Path, removed: Callable[[Path], object]) -> None:
    events = train_and_at_step_7(tmp_path, lambda: removed(tmp_path / "run"))
    (notice,) = (event.text for event in events if isinstance(event, Notice))
    run = tmp_path / "run"
    assert notice == f"the folder {run} was removed or replaced; the run is saved in {run}"
    assert sorted(path.name for path in run.iterdir()) == sorted([BEST, LAST, LOG, LOCK])
    trained(tmp_path, "whole")
    assert same_weights(run / LAST, tmp_path / "whole" / LAST)
    assert checkpoint.load(run / BEST).header.results["step"] > 7


@pytest.mark.slow
def test_a_folder_that_another_run_has_taken_is_left_to_it(tmp_path: Path) -> None:
    def replace_run() -> None:
        shutil.rmtree(tmp_path / "run")
        list(Training(corpus(tmp_path), MODEL, replace(CONFIG, seed=5), tmp_path / "run").run())
        before.update((path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir())

    before: dict[str, bytes] = {}
    train_and_at_step_7(tmp_path, replace_run)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert checkpoint.read_header(tmp_path / "run-2" / BEST).name == "run-2"
    trained(tmp_path, "whole")
    assert same_weights(tmp_path / "run-2" / LAST, tmp_path / "whole" / LAST)


@pytest.mark.slow
def test_a_folder_that_another_run_trains_in_is_left_to_it(tmp_path: Path) -> None:
    def replace_run() -> None:
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").mkdir()
        lock.acquire()  # before its first save

    lock = RunLock(tmp_path / "run")
    train_and_at_step_7(tmp_path, replace_run)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    assert (tmp_path / "run-2" / BEST).exists()
    lock.release()


def test_a_second_training_of_the_same_run_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    first_events = first.run()
    next(first_events)
    with pytest.raises(CharrnnError, match=f"another process is training {tmp_path / 'run'}"):
        next(Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run())
    first.stop = True
    list(first_events)
    next(Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run").run())


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path: Path) -> None:
    training, events = trained(tmp_path, steps=2000, save_every=20, lr=0.05, patience=2, **PLAIN)
    bests = [report.best for report in reports(events)]
    assert training.done
    assert training.step < 2000
    assert bests[-2:] == [False, False]
    assert training.state.stale == 2


def test_the_last_state_is_saved_by_time_too(tmp_path: Path) -> None:
    training = Training(
        corpus(tmp_path), MODEL, replace(CONFIG, save_every=100, save_minutes=1e-9), tmp_path / "r"
    )
    seen = set()
    for event in training.run():
        if isinstance(event, Progress):
            seen.add(checkpoint.read_header(tmp_path / "r" / LAST).results["step"])
    assert len(seen) > 10


def test_the_state_passes_from_window_to_window_without_its_gradient(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0, **PLAIN), tmp_path / "r")
    ids = [data_of(training).batches.batch(step)[0] for step in (0, 1)]
    training.learner.train_step(0, 0.0)
    training.learner.train_step(1, 0.0)
    with torch.no_grad():
        _, expected = training.learner.model(
            torch.from_numpy(np.concatenate(ids, 1)), training.learner.model.start(4)
        )
    for layer, expected_layer in zip(data_of(training).window_state.state, expected, strict=True):
        for part, expected_part in zip(layer, expected_layer, strict=True):
            assert not part.requires_grad
            torch.testing.assert_close(part, expected_part, rtol=1e-4, atol=1e-5)


def test_at_a_new_epoch_a_stream_continues_the_state_of_the_stream_before_it(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0), tmp_path / "r")
    data_of(training).window_state.state = tuple(
        tuple(torch.arange(4.0)[:, None].expand(4, 12) + 1 for _ in layer)
        for layer in data_of(training).window_state.state
    )
    ((hidden, _),) = data_of(training).initial_state(data_of(training).batches.steps_per_epoch)
    assert hidden[:, 0].tolist() == [0, 1, 2, 3]
    ((hidden, _),) = data_of(training).initial_state(1)
    assert hidden[:, 0].tolist() == [1, 2, 3, 4]


def test_streams_are_reset_as_often_as_configured(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, reset=0.25), tmp_path / "r")
    data_of(training).window_state.state = tuple(
        tuple(torch.ones_like(part) for part in layer) for layer in data_of(training).window_state.state
    )
    steps = [step for step in range(2000) if not data_of(training).batches.starts_epoch(step)]
    kept = np.mean([float(data_of(training).initial_state(step)[0][0].mean()) for step in steps])
    assert kept == pytest.approx(0.75, abs=0.02)


def test_the_gradient_is_clipped_to_the_global_norm(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=0.01), tmp_path / "r")
    _, norm = training.learner.train_step(0, 0.0)
    gradients = [p.grad for p in training.learner.model.parameters() if p.grad is not None]
    clipped = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert norm > 0.01
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_a_step_of_sgd_is_the_learning_rate_times_the_clipped_gradient(tmp_path: Path) -> None:
    config = replace(CONFIG, **PLAIN | {"optimizer": "sgd"}, lr=2.0, clip=0.1)
    learner = Training(corpus(tmp_path), MODEL, config, tmp_path / "r").learner
    before = learner.weights()
    learner.train_step(0, 0.5)
    change = np.concatenate([(before[name] - value).ravel() for name, value in learner.weights().items()])
    assert np.linalg.norm(change) == pytest.approx(0.5 * 2.0 * 0.1, rel=1e-3)
    for name, parameter in learner.model.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(before[name] - learner.weights()[name], parameter.grad, atol=1e-6)


@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_a_report_has_the_mean_norm_and_the_share_of_clipped_steps_since_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    training, norms = Training(corpus(tmp_path), MODEL, replace(CONFIG, clip=clip), tmp_path / "run"), []
    train_step = training.learner.train_step

    def noting(step: int, lr_factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        loss, norm = train_step(step, lr_factor)
        norms.append(float(norm))
        return loss, norm

    monkeypatch.setattr(training.learner, "train_step", noting)
    shares = []
    for report, steps in zip(
        reports(list(training.run())), (norms[:7], norms[7:14], norms[14:]), strict=True
    ):
        assert report.gradient_norm == pytest.approx(np.mean(steps))
        shares.append(report.clipped)
        assert report.clipped == (np.mean([norm > clip for norm in steps]) if clip else 0)
    assert (0 < sum(shares) < 3) == bool(clip)


def test_a_gradient_norm_that_is_not_finite_is_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run")
    train_step = training.learner.train_step

    def infinite(step: int, lr_factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        loss, norm = train_step(step, lr_factor)
        return loss, norm * (math.inf if step == 9 and not training.state.rollbacks else 1)

    monkeypatch.setattr(training.learner, "train_step", infinite)
    events = list(training.run())
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith("the gradient norm is inf at step ")
    assert [report.step for report in reports(events)] == [7, 14, 20]


def test_the_learning_rate_warms_up_then_falls_to_its_end() -> None:
    config = TrainConfig(warmup=0.1, final_lr=0.05)
    rates = [lr_factor(step, RunState(steps=200, report_every=1), config) for step in range(200)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == 1
    assert rates[-1] == pytest.approx(0.05, abs=0.002)


# --- going on with a new budget ---


def train_on(tmp_path: Path, source: str, target: str, stop_step: int = 0, **budget: Any) -> Training:
    """Copy a run and train the copy on with a new budget; stop after ``stop_step`` if it is not 0."""
    shutil.copytree(tmp_path / source, tmp_path / target, dirs_exist_ok=True)
    last = checkpoint.load(tmp_path / target / LAST, resume=True)
    config = replace(last.header.training, **({"steps": None, "epochs": None, "minutes": None} | budget))
    folder = tmp_path / target
    training = Training(corpus(tmp_path), MODEL, config, folder, resume=last, new_budget=bool(budget))
    for event in training.run():
        training.stop = isinstance(event, Progress) and event.step >= stop_step > 0
    return training


def test_a_new_budget_trains_on_after_the_end_and_the_log_continues(tmp_path: Path) -> None:
    trained(tmp_path)
    training = train_on(tmp_path, "run", "more", steps=15)
    assert (training.step, training.steps, training.done) == (STEPS + 15, STEPS + 15, True)
    assert [line["step"] for line in lines_of(tmp_path / "more" / LOG)] == [7, 14, 20, 21, 28, 35]
    header = checkpoint.read_header(tmp_path / "more" / LAST)
    assert header.training.steps == 15
    assert not same_weights(tmp_path / "run" / LAST, tmp_path / "more" / LAST)


def test_a_new_budget_in_epochs_is_so_many_more(tmp_path: Path) -> None:
    trained(tmp_path)
    training = train_on(tmp_path, "run", "more", epochs=1)
    assert training.steps == STEPS + training.learner.data.steps_per_epoch


@pytest.mark.slow
def test_minutes_of_a_new_budget_become_steps_and_their_timing_leaves_no_trace(tmp_path: Path) -> None:
    trained(tmp_path)
    timed = train_on(tmp_path, "run", "timed", minutes=0.01)
    train_on(tmp_path, "run", "counted", steps=timed.steps - STEPS)
    assert same_weights(tmp_path / "timed" / LAST, tmp_path / "counted" / LAST, resume=True)


@pytest.mark.slow
def test_a_run_stopped_in_its_new_budget_and_resumed_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "PROGRESS_SECONDS", 0.0)
    trained(tmp_path)
    train_on(tmp_path, "run", "whole", steps=15)
    for stop_step in (20, 24, 30):
        name = f"cut-{stop_step}"
        assert stop_step < train_on(tmp_path, "run", name, stop_step, steps=15).step < STEPS + 15
        last = checkpoint.load(tmp_path / name / LAST, resume=True)
        resumed = Training(corpus(tmp_path), MODEL, last.header.training, tmp_path / name, resume=last)
        list(resumed.run())
        for file in (BEST, LAST):
            assert same_weights(tmp_path / "whole" / file, tmp_path / name / file, resume=True)
        logs = [lines_of(tmp_path / run / LOG) for run in ("whole", name)]
        for line in logs[0] + logs[1]:
            del line["seconds"], line["characters_per_second"]
        assert logs[0] == logs[1]


def test_a_new_budget_replaces_what_was_left_of_the_old_one(tmp_path: Path) -> None:
    training = Training(corpus(tmp_path), MODEL, replace(CONFIG, steps=1000), tmp_path / "run")
    for event in training.run():
        training.stop = isinstance(event, Report)
    stopped_at = training.step
    assert train_on(tmp_path, "run", "more", steps=5).step == stopped_at + 5


def test_a_new_budget_counts_the_reports_of_patience_anew(tmp_path: Path) -> None:
    training, _ = trained(tmp_path, steps=2000, save_every=20, lr=0.05, patience=2, **PLAIN)
    assert train_on(tmp_path, "run", "more", steps=10).step == training.step + 10


def test_a_checkpoint_of_an_older_build_trains_on(tmp_path: Path) -> None:
    trained(tmp_path)
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    values = {key: value for key, value in (last.header.resume or {}).items() if key not in LATER}
    old = replace(last, header=replace(last.header, resume=values))
    ended = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run", resume=old)
    assert ended.done
    more = Training(corpus(tmp_path), MODEL, CONFIG, tmp_path / "run", resume=old, new_budget=True)
    assert not more.done
    list(more.run())
    assert more.step == 2 * STEPS


steps_of_a_stage = st.integers(1, 5000)


@given(st.lists(st.tuples(steps_of_a_stage, st.floats(0, 1)), min_size=1, max_size=5))
def test_the_learning_rate_of_all_stages_has_no_jump(stages: list) -> None:
    config, state = TrainConfig(), RunState()
    before = 0.0
    for steps, share in stages:
        state = begin_stage(state, config, steps, 1)
        warmup = max(1, round(config.warmup * steps))
        stop = state.step + max(1, round(share * steps))
        first = lr_factor(state.step, state, config)
        assert before - 1e-9 <= first <= before + 1 / warmup + 1e-9
        assert all(
            0 < lr_factor(step, state, config) <= 1 for step in (state.step, stop - 1, state.steps - 1)
        )
        before = lr_factor(stop - 1, state, config)
        state = replace(state, step=stop)


def test_the_learning_rate_is_reheated_from_where_it_was() -> None:
    config = TrainConfig(warmup=0.1)
    ended = replace(begin_stage(RunState(), config, 100, 1), step=100)
    again = begin_stage(ended, config, 100, 1)
    rates = [lr_factor(step, again, config) for step in range(100, 200)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] < 0.12
    assert rates[9] == pytest.approx(1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02
