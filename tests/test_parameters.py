"""Sizes: what a network of given options holds, and what fits a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn import cells
from charrnn.config import WIDEST, ModelConfig
from charrnn.errors import ConfigError
from charrnn.runs import parameters

networks = st.builds(
    ModelConfig,
    cell=st.sampled_from(cells.names()),
    layers=st.integers(1, 3),
    hidden=st.just(1),
    embedding=st.integers(0, 64),
)


@given(networks, st.integers(2, 200), st.integers(20_000, 3_000_000))
def test_no_other_width_comes_nearer_to_a_budget(config: ModelConfig, symbols: int, budget: int) -> None:
    result = parameters.sized(config, symbols, budget)

    def off(hidden: int) -> int:
        return abs(
            parameters.count(ModelConfig(config.cell, config.layers, hidden, config.embedding), symbols)
            - budget
        )

    assert off(result.hidden) <= min(off(result.hidden + 1), off(max(1, result.hidden - 1)))
    assert (result.cell, result.layers, result.embedding) == (config.cell, config.layers, config.embedding)


def test_the_budgets_of_karpathy_johnson_and_fei_fei_are_those_of_their_paper() -> None:
    counts = [parameters.count(ModelConfig("lstm", 1, hidden, 0), 87) for hidden in (64, 128, 256, 512)]
    assert [round(count, -3) for count in counts] == [45_000, 122_000, 375_000, 1_273_000]


def test_a_budget_below_one_unit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--params 100"):
        parameters.sized(ModelConfig(), 5000, 100)


def test_a_budget_above_the_limit_is_an_error() -> None:
    widest = parameters.count(ModelConfig(hidden=WIDEST), 65)
    with pytest.raises(ConfigError, match=rf"--params {widest + 1}: must be at most {widest:,}"):
        parameters.sized(ModelConfig(), 65, widest + 1)
    assert parameters.sized(ModelConfig(), 65, widest).hidden == WIDEST
