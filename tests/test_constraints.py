"""The constraints of one text as it grows, tested on all short texts of a small alphabet."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import ConfigError
from charrnn.inference.constraints import ConstrainedText, Constraints
from charrnn.inference.pattern import Pattern
from charrnn.text.vocabulary import Vocabulary

V = 3
TEXTS = [text for length in range(1, 7) for text in product(range(V), repeat=length)]
ABC = Vocabulary("abc")


def ids(text: str) -> tuple[int, ...]:
    return tuple(ABC.encode(text).tolist())


def drawn(constrained: ConstrainedText, text: tuple[int, ...]) -> tuple[tuple[int, ...], str | None]:
    """The characters that are settled after these are drawn, and why the text ended."""
    settled: list[int] = []
    pending: list[int] = []
    for symbol in text:
        if constrained.ended:
            break
        pending.append(symbol)
        count = constrained.add(symbol)
        assert 0 <= count <= len(pending)
        settled += pending[:count]
        del pending[:count]
    if constrained.ended in (None, "length"):  # only what begins a stop string is held back
        assert len(pending) <= max((len(stop) - 1 for stop in constrained.constraints.stops), default=0)
    return tuple(settled), constrained.ended


def cut(text: tuple[int, ...], stops: tuple[tuple[int, ...], ...], keep: bool) -> tuple[int, ...] | None:
    """The text before (with ``keep``: with) the stop string that is complete first, the longest of those."""
    for end in range(1, len(text) + 1):
        sizes = [len(stop) for stop in stops if text[:end][-len(stop) :] == stop]
        if sizes:
            return text[: end if keep else end - max(sizes)]
    return None


STOPS = [
    ("b",),
    ("aab",),
    ("aba",),
    ("aa", "aab"),
    ("b", "aab"),
    ("abc", "bc", "cab"),
    ("abab", "ba"),
    ("aaaa",),
    ("abcab", "ca"),
    ("abca", "bb"),
]


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_a_stop_ends_a_text_and_never_leaks_into_it(stops: tuple[str, ...], keep: bool) -> None:
    constraints = Constraints(V, stops=tuple(map(ids, stops)), keep_stop=keep)
    for text in TEXTS:
        result, ended = drawn(constraints.start(), text)
        expected = cut(text, constraints.stops, keep)
        if expected is None:
            assert ended is None
            assert text[: len(result)] == result
        else:
            assert (result, ended) == (expected, "stop")


@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_only_a_possible_beginning_of_a_stop_is_withheld(stops: tuple[str, ...]) -> None:
    constraints = Constraints(V, stops=tuple(map(ids, stops)))
    for text in TEXTS:
        result, ended = drawn(constraints.start(), text)
        if ended is None:
            held = max(
                size
                for stop in constraints.stops
                for size in range(len(stop))
                if text[-size:] == stop[:size] or not size
            )
            assert result == text[: len(text) - held]


@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_at_its_length_a_text_has_all_that_was_held_back(stops: tuple[str, ...]) -> None:
    constraints = Constraints(V, length=4, stops=tuple(map(ids, stops)))
    for text in TEXTS:
        if len(text) == 4 and cut(text, constraints.stops, False) is None:
            assert drawn(constraints.start(), text) == (text, "length")


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_before_the_minimum_length_no_stop_can_be_completed(stops: tuple[str, ...], keep: bool) -> None:
    least = 3
    constraints = Constraints(V, min_length=least, stops=tuple(map(ids, stops)), keep_stop=keep)
    for text in TEXTS:
        constrained = constraints.start()
        for at, symbol in enumerate(text):
            ends = [stop for stop in constraints.stops if text[: at + 1][-len(stop) :] == stop]
            assert constrained.allowed_mask()[symbol] == all(at + 1 - len(stop) >= least for stop in ends)
            if not constrained.allowed_mask()[symbol]:
                break
            constrained.add(symbol)
            if constrained.ended:
                assert len(drawn(constraints.start(), text[: at + 1])[0]) >= least
                break


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_sequence_of_n_characters_occurs_twice(size: int) -> None:
    constraints = Constraints(V, length=20, no_repeat=size)
    for text in TEXTS:
        constrained = constraints.start([0, 1, 2, 0])  # the prompt does not count
        for at, symbol in enumerate(text):
            so_far = [text[k : k + size] for k in range(at + 2 - size)]
            assert constrained.allowed_mask()[symbol] == (len(set(so_far)) == len(so_far))
            if not constrained.allowed_mask()[symbol]:
                break
            constrained.add(symbol)


@given(
    st.lists(st.integers(0, 6), max_size=8),
    st.lists(st.integers(0, 6), max_size=4),
    st.integers(0, 6),
)
def test_the_window_slides_over_what_is_read_and_drawn(
    before: list[int], drawn: list[int], window: int
) -> None:
    constrained = Constraints(7, window=window).start(np.array(before, int))
    for symbol in drawn:
        constrained.add(symbol)
    last = [*before, *drawn][-window:] if window else []
    assert np.flatnonzero(constrained.recent_mask()).tolist() == sorted(set(last))


@pytest.mark.parametrize("length", [1, 2, 6])
def test_a_text_ends_at_its_length(length: int) -> None:
    for text in TEXTS:
        expected = (text[:length], "length" if len(text) >= length else None)
        assert drawn(Constraints(V, length).start(), text) == expected


def test_only_allowed_characters_are_in_the_mask() -> None:
    constrained = Constraints(V, allowed=np.array([True, False, True])).start()
    assert constrained.allowed_mask().tolist() == [True, False, True]
    constrained.allowed_mask()[:] = False  # each call returns a new mask
    assert constrained.allowed_mask().tolist() == [True, False, True]


def pattern(expression: str, most: int = 0) -> Pattern:
    return Pattern(expression, ABC, None, 0, most)


def test_a_match_ends_when_no_character_continues_it() -> None:
    assert drawn(Constraints(V, pattern=pattern("ab|abc")).start(), ids("abc")) == (ids("abc"), "match")
    assert drawn(Constraints(V, pattern=pattern("a{2}")).start(), ids("aaa")) == (ids("aa"), "match")


def test_a_character_that_does_not_continue_a_match_ends_it_and_is_not_counted() -> None:
    constraints = Constraints(V, pattern=pattern("a+b*"))
    constrained = constraints.start()
    assert constrained.allowed_mask().tolist() == [True, False, False]
    twin = constrained.copy()
    twin.add(0)
    assert twin.allowed_mask().all()
    assert drawn(constrained, ids("aac")) == (ids("aa"), "match")
    assert constrained.count == 2
    assert constrained.ending_mask is not None
    assert constrained.ending_mask.tolist() == [False, False, True]


def test_the_end_of_a_match_settles_the_beginning_of_a_stop() -> None:
    constraints = Constraints(V, pattern=pattern("a+"), stops=(ids("aab"), ids("aaa")))
    assert drawn(constraints.start(), ids("aab")) == (ids("aa"), "match")
    assert drawn(constraints.start(), ids("aaa")) == ((), "stop")


def test_a_pattern_of_the_empty_text_has_ended_at_its_start() -> None:
    assert Constraints(V, pattern=pattern("")).start().ended == "match"
    assert Constraints(V, pattern=pattern("a*")).start().ended is None


def test_a_match_at_the_length_is_a_match() -> None:
    assert drawn(Constraints(V, 3, pattern=pattern("a*", 3)).start(), ids("aaa")) == (ids("aaa"), "match")


def test_a_match_that_other_constraints_stop_has_ended() -> None:
    constrained = Constraints(V, 9, no_repeat=1, pattern=pattern("[ab]+")).start()
    assert drawn(constrained, ids("ba")) == (ids("ba"), "match")
    constrained = Constraints(V, 9, min_length=9, stops=(ids("aa"),), pattern=pattern("a+")).start()
    assert drawn(constrained, ids("a")) == (ids("a"), "match")


every_constraint = st.builds(
    lambda length, stops, keep, least, repeat, window, expression: Constraints(
        V,
        length,
        min(least, length),
        None,
        tuple(map(ids, stops)),
        keep,
        repeat,
        window,
        pattern(expression, length) if expression else None,
    ),
    st.integers(3, 8),
    st.sampled_from([(), *STOPS]),
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "[abc]*", "a*b?(ca)*"]),
)


def walked(constrained: ConstrainedText, text: tuple[int, ...]) -> list[object]:
    result: list[object] = []
    for symbol in text:
        if constrained.ended or not constrained.allowed_mask()[symbol]:
            break
        result += [
            constrained.add(symbol),
            constrained.ended,
            constrained.count,
            constrained.allowed_mask().tolist(),
            constrained.recent_mask().tolist(),
        ]
    return result


@pytest.mark.slow
@given(every_constraint, st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_copies_are_independent(constraints: Constraints, common, one, other) -> None:
    constrained = constraints.start()
    walked(constrained, common)
    twin = constrained.copy()
    alone = constrained.copy()
    assert walked(constrained, one) == walked(alone, one)
    after = constrained.ended, constrained.count, constrained.allowed_mask().tolist()
    assert walked(twin, other) == walked(replayed(constraints, common), other)
    assert after == (constrained.ended, constrained.count, constrained.allowed_mask().tolist())


def replayed(constraints: Constraints, text: tuple[int, ...]) -> ConstrainedText:
    constrained = constraints.start()
    walked(constrained, text)
    return constrained


@pytest.mark.slow
@given(every_constraint, st.sampled_from(TEXTS))
def test_unconstrained_means_that_every_character_is_allowed(
    constraints: Constraints, text: tuple[int, ...]
) -> None:
    constrained = constraints.start()
    walked(constrained, text)
    assert not constraints.unconstrained or constrained.allowed_mask().all()


def test_a_length_and_stops_without_a_min_length_leave_a_text_unconstrained() -> None:
    assert Constraints(V, 5, stops=((0,),), window=3).unconstrained
    assert not Constraints(V, 5, 2, stops=((0,),)).unconstrained
    assert not Constraints(V, 5, no_repeat=2).unconstrained
    assert not Constraints(V, pattern=pattern("a*")).unconstrained
    assert not Constraints(V, allowed=np.ones(V, bool)).unconstrained


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allowed": np.zeros(V, bool)}, "--allow"),
        ({"stops": ((0,), ())}, "--stop"),
        ({"length": 3, "min_length": 4}, "--min-length 4"),
        ({"no_repeat": 2}, "--no-repeat"),
    ],
)
def test_an_error_in_constraints_names_the_option(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Constraints(V, **settings)
