"""What is chosen from text and budget, and what never is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training.sizing import CHOSEN, choose

lengths = st.integers(2, 10**9)
budgets = st.floats(1, 1e10)


@given(lengths, budgets, st.sets(st.sampled_from(CHOSEN)))
def test_what_is_given_stays_and_only_the_free_is_chosen(characters: int, learnt: float, free: set) -> None:
    before = ModelConfig(hidden=77), TrainConfig(dropout=0.77, weight_drop=0.66, streams=5)
    model, config, why = choose(*before, free, characters, learnt)
    for name in CHOSEN:
        old, new = (
            getattr(side[0], name, None) or getattr(side[1], name, None) for side in (before, (model, config))
        )
        if name not in free:
            assert new == old
            assert name.replace("_", " ") not in why
        else:
            assert name.replace("_", " ") in why
    assert config.streams == 5


@given(lengths, budgets, st.floats(1, 100))
def test_more_text_and_more_time_never_make_it_narrower(characters: int, learnt: float, more: float) -> None:
    def width(text: float, seen: float) -> int:
        return choose(ModelConfig(), TrainConfig(), CHOSEN, int(text), seen)[0].hidden

    assert width(characters * more, learnt * more) >= width(characters, learnt)


@given(lengths, budgets, st.floats(1, 100))
def test_reading_a_text_more_often_drops_no_less(characters: int, learnt: float, more: float) -> None:
    few, many = (
        choose(ModelConfig(), TrainConfig(), CHOSEN, characters, seen)[1] for seen in (learnt, learnt * more)
    )
    assert many.dropout >= few.dropout
    assert many.weight_drop >= few.weight_drop
