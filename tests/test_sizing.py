"""Sizes chosen from text and budget, and those the user gave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training.sizing import CHOSEN, choose

lengths = st.integers(2, 10**9)
budgets = st.floats(1, 1e10)


@given(lengths, budgets, st.sets(st.sampled_from(CHOSEN)))
def test_only_what_the_user_left_open_is_chosen(characters: int, budget: float, left_open: set[str]) -> None:
    before = ModelConfig(hidden=77), TrainConfig(dropout=0.77, weight_drop=0.66, streams=5)
    model, config, why = choose(*before, left_open, characters, budget)
    for name in CHOSEN:
        old, new = (
            getattr(side[0], name, None) or getattr(side[1], name, None) for side in (before, (model, config))
        )
        if name not in left_open:
            assert new == old
            assert name.replace("_", " ") not in why
        else:
            assert name.replace("_", " ") in why
    assert config.streams == 5


@given(lengths, budgets, st.floats(1, 100))
def test_more_text_and_more_budget_never_choose_a_smaller_width(
    characters: int, budget: float, more: float
) -> None:
    def width(text: float, read: float) -> int:
        return choose(ModelConfig(), TrainConfig(), CHOSEN, int(text), read)[0].hidden

    assert width(characters * more, budget * more) >= width(characters, budget)


@given(lengths, budgets, st.floats(1, 100))
def test_more_epochs_never_choose_less_dropout(characters: int, budget: float, more: float) -> None:
    few, many = (
        choose(ModelConfig(), TrainConfig(), CHOSEN, characters, read)[1] for read in (budget, budget * more)
    )
    assert many.dropout >= few.dropout
    assert many.weight_drop >= few.weight_drop
