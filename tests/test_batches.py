"""Every target is used in each epoch, in order, and a batch depends on its step alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charrnn.training.batches import Batches


@st.composite
def batches(draw: st.DrawFn) -> Batches:
    """Batches over a text whose every character is its own position."""
    characters = draw(st.integers(2, 120))
    streams = draw(st.integers(1, characters - 1))
    return Batches(np.arange(characters, dtype=np.uint8), streams, draw(st.integers(1, 130)))


def epoch(cut: Batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return [cut.batch(step) for step in range(cut.steps_per_epoch)]


@given(batches())
def test_each_epoch_uses_every_target_and_at_most_one_for_each_stream_twice(cut: Batches) -> None:
    used = Counter(np.concatenate([targets.ravel() for _, targets in epoch(cut)]).tolist())
    assert set(used) == set(range(1, len(cut.ids)))
    twice = [target for target, times in used.items() if times > 1]
    assert len(twice) <= cut.streams
    assert max(used.values()) <= 2


@given(batches())
def test_targets_are_the_next_characters_of_the_inputs(cut: Batches) -> None:
    for inputs, targets in epoch(cut):
        assert inputs.shape == targets.shape
        assert inputs.shape[0] == cut.streams
        assert inputs.dtype == targets.dtype == np.int64
        assert (targets == inputs + 1).all()


@given(batches())
def test_windows_are_at_most_bptt_long_and_differ_by_at_most_one(cut: Batches) -> None:
    lengths = [inputs.shape[1] for inputs, _ in epoch(cut)]
    assert 1 <= min(lengths) <= max(lengths) <= cut.bptt
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) == cut.length


@given(batches(), st.integers(0, 10**9))
def test_a_batch_is_a_pure_function_of_the_step(cut: Batches, step: int) -> None:
    first, again = cut.batch(step), cut.batch(step % cut.steps_per_epoch)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert cut.starts_epoch(step) == (step % cut.steps_per_epoch == 0)


@given(batches())
def test_a_streams_window_begins_where_the_one_before_ended(cut: Batches) -> None:
    windows = epoch(cut)
    for (_, targets), (inputs, _) in pairwise(windows):
        assert (inputs[:, 0] == targets[:, -1]).all()


@given(count=st.integers(2, 3000), streams=st.integers(1, 100), bptt=st.integers(1, 200))
def test_a_short_text_gets_fewer_streams_and_shorter_windows(count: int, streams: int, bptt: int) -> None:
    cut = Batches.fitted(np.zeros(count, np.uint8), streams, bptt)
    targets = count - 1
    assert cut.streams * cut.bptt <= targets
    assert cut.bptt == min(bptt, targets)
    assert cut.streams == streams or (cut.streams < streams and (cut.streams + 1) * bptt > targets)
    assert cut.batch(0)[0].shape[0] == cut.streams
