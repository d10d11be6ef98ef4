"""The state of a run is stored and read back, and a damaged one is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import BEST, LAST, Header
from charrnn.runs.lock import RunLock
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.run_folder import RunFolder
from charrnn.training.run_state import LATER, RunState

STATE = RunState(
    step=7,
    steps=20,
    report_every=5,
    best=1.5,
    stale=1,
    loss_sum=3.0,
    loss_steps=2,
    norm_sum=9.0,
    clipped_steps=1,
    seconds=0.5,
)


@pytest.mark.parametrize("state", [STATE, replace(STATE, best=math.inf, step=0)])
def test_a_state_comes_back_from_json(state: RunState) -> None:
    text = json.dumps(state.to_dict() | {"origin": {}}, allow_nan=False)
    assert RunState.from_dict(json.loads(text)) == state


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in ("step", "stale", "loss_steps", "clipped_steps")
            for value in (-1, 1.0, True, "1", None)
        ],
        *[
            (name, value)
            for name in ("lr_scale", "seconds", "norm_sum")
            for value in (-1, math.nan, math.inf, "1", None)
        ],
        ("best", math.nan),
        ("best", -1),
        ("step", 21),
        ("stage_start", 8),
        ("lr_start", math.nan),
        ("steps", 0),
        ("report_every", 0),
        ("seconds", 10**400),
        ("stale", 10**300),
        ("lr_scale", 1.5),
        ("lr_start", 2.0),
        ("loss_sum", 1e300),
    ],
)
def test_a_state_that_no_run_can_have_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} is |step \d+ of \d+"):
        RunState.from_dict(STATE.to_dict() | {name: value})


def test_more_clipped_steps_than_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="clipped_steps is 3, of 2 steps"):
        RunState.from_dict(STATE.to_dict() | {"clipped_steps": 3})


def test_a_state_without_one_of_its_keys_is_refused() -> None:
    for name in STATE.to_dict().keys() - set(LATER):
        with pytest.raises(KeyError, match=name):
            RunState.from_dict({key: value for key, value in STATE.to_dict().items() if key != name})


def test_a_state_of_an_older_build_has_one_stage_and_no_norms() -> None:
    old = {key: value for key, value in STATE.to_dict().items() if key not in LATER}
    assert RunState.from_dict(old) == replace(STATE, norm_sum=0.0, clipped_steps=0)
    assert (STATE.stage_start, STATE.lr_start) == (0, 0)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 100)), min_size=1), st.integers(0, 100), st.data())
def test_steps_counted_in_any_groups_give_the_same_means(steps: list, clip: int, data: st.DataObject) -> None:
    losses, norms = (torch.tensor(column, dtype=torch.float64) for column in zip(*steps, strict=True))
    cut = data.draw(st.integers(0, len(steps)))
    whole, parts = RunState(), RunState()
    whole.add_steps(losses, norms, clip)
    for part in (slice(cut), slice(cut, None)):
        parts.add_steps(losses[part], norms[part], clip)
    assert (parts.loss_steps, parts.norm_sum) == (len(steps), sum(norm for _, norm in steps))
    assert parts.clipped_steps == sum(norm > clip > 0 for _, norm in steps)
    assert parts.loss_sum == pytest.approx(whole.loss_sum)
    assert (parts.norm_sum, parts.clipped_steps) == (whole.norm_sum, whole.clipped_steps)


def test_a_report_counts_towards_patience_until_a_better_one() -> None:
    state = replace(STATE, best=math.inf, stale=0)
    assert state.train_nats == 1.5
    assert [state.add_report(nats) for nats in (2.0, 2.5, 2.0, 1.9)] == [True, False, False, True]
    assert (state.best, state.stale, state.loss_steps) == (1.9, 0, 0)
    assert (state.norm_sum, state.clipped_steps) == (0, 0)


def test_only_the_main_process_writes_a_run_folder(tmp_path: Path) -> None:
    header = Header(ModelConfig(), Vocabulary("ab"))
    for is_main in (False, True):
        run = RunFolder(RunLock(tmp_path / "run"), header, is_main)
        with run.lock(0):
            run.add_checkpoint(BEST, {}, {"step": 1})
            run.add_checkpoint(LAST, {}, {"step": 1}, STATE.to_dict())
            run.write()
        assert (tmp_path / "run" / BEST).exists() == is_main
        assert (tmp_path / "run" / LAST).exists() == is_main


def test_a_folder_that_cannot_be_made_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = RunFolder(RunLock(tmp_path / "file" / "run"), Header(ModelConfig(), Vocabulary("ab")), is_main=True)
    with pytest.raises(CheckpointError, match=r"cannot write .*: Not a directory"), run.lock(0):
        pass
