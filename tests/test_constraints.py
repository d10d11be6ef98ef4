"""The laws of one text as it grows, against all short texts of a small alphabet."""

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


def told(course: ConstrainedText, text: tuple[int, ...]) -> tuple[tuple[int, ...], str | None]:
    """What has been told to belong to the text after these are drawn, and why it ended."""
    certain: list[int] = []
    pending: list[int] = []
    for id in text:
        if course.ended:
            break
        pending.append(id)
        count = course.add(id)
        assert 0 <= count <= len(pending)
        certain += pending[:count]
        del pending[:count]
    if course.ended in (None, "length"):  # only what begins a stop string is held back
        assert len(pending) <= max((len(stop) - 1 for stop in course.rules.stops), default=0)
    return tuple(certain), course.ended


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


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_a_stop_ends_a_text_and_never_leaks_into_it(stops: tuple[str, ...], keep: bool) -> None:
    rules = Constraints(V, stops=tuple(map(ids, stops)), keep_stop=keep)
    for text in TEXTS:
        found, ended = told(rules.start(), text)
        expected = cut(text, rules.stops, keep)
        if expected is None:
            assert ended is None
            assert text[: len(found)] == found
        else:
            assert (found, ended) == (expected, "stop")


@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_what_is_told_could_not_be_told_later_and_not_sooner(stops: tuple[str, ...]) -> None:
    rules = Constraints(V, stops=tuple(map(ids, stops)))
    for text in TEXTS:
        found, ended = told(rules.start(), text)
        if ended is None:
            held = max(
                size
                for stop in rules.stops
                for size in range(len(stop))
                if text[-size:] == stop[:size] or not size
            )
            assert found == text[: len(text) - held]


@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_at_its_length_a_text_has_all_that_was_held_back(stops: tuple[str, ...]) -> None:
    rules = Constraints(V, length=4, stops=tuple(map(ids, stops)))
    for text in TEXTS:
        if len(text) == 4 and cut(text, rules.stops, False) is None:
            assert told(rules.start(), text) == (text, "length")


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stops", STOPS, ids="-".join)
def test_before_the_least_length_no_stop_can_be_completed(stops: tuple[str, ...], keep: bool) -> None:
    least = 3
    rules = Constraints(V, least=least, stops=tuple(map(ids, stops)), keep_stop=keep)
    for text in TEXTS:
        course = rules.start()
        for at, id in enumerate(text):
            ends = [stop for stop in rules.stops if text[: at + 1][-len(stop) :] == stop]
            assert course.allowed_mask()[id] == all(at + 1 - len(stop) >= least for stop in ends)
            if not course.allowed_mask()[id]:
                break
            course.add(id)
            if course.ended:
                assert len(told(rules.start(), text[: at + 1])[0]) >= least
                break


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_characters_come_twice_in_a_row_of_so_many(size: int) -> None:
    rules = Constraints(V, length=20, no_repeat=size)
    for text in TEXTS:
        course = rules.start([0, 1, 2, 0])  # what was read is no part of it
        for at, id in enumerate(text):
            so_far = [text[k : k + size] for k in range(at + 2 - size)]
            assert course.allowed_mask()[id] == (len(set(so_far)) == len(so_far))
            if not course.allowed_mask()[id]:
                break
            course.add(id)


@given(
    st.lists(st.integers(0, 6), max_size=8),
    st.lists(st.integers(0, 6), max_size=4),
    st.integers(0, 6),
)
def test_the_window_slides_over_what_is_read_and_drawn(
    before: list[int], drawn: list[int], window: int
) -> None:
    course = Constraints(7, window=window).start(np.array(before, int))
    for id in drawn:
        course.add(id)
    last = [*before, *drawn][-window:] if window else []
    assert np.flatnonzero(course.recent_mask()).tolist() == sorted(set(last))


@pytest.mark.parametrize("length", [1, 2, 6])
def test_a_text_ends_at_its_length(length: int) -> None:
    for text in TEXTS:
        expected = (text[:length], "length" if len(text) >= length else None)
        assert told(Constraints(V, length).start(), text) == expected


def test_what_is_not_allowed_may_not_come() -> None:
    course = Constraints(V, allowed=np.array([True, False, True])).start()
    assert course.allowed_mask().tolist() == [True, False, True]
    course.allowed_mask()[:] = False  # a mask is the asker's own
    assert course.allowed_mask().tolist() == [True, False, True]


def pattern(expression: str, most: int = 0) -> Pattern:
    return Pattern(expression, ABC, None, 0, most)


def test_a_match_ends_when_nothing_goes_on_with_it() -> None:
    assert told(Constraints(V, pattern=pattern("ab|abc")).start(), ids("abc")) == (ids("abc"), "match")
    assert told(Constraints(V, pattern=pattern("a{2}")).start(), ids("aaa")) == (ids("aa"), "match")


def test_what_does_not_go_on_with_a_match_ends_it_and_is_left_over() -> None:
    rules = Constraints(V, pattern=pattern("a+b*"))
    course = rules.start()
    assert course.allowed_mask().tolist() == [True, False, False]
    twin = course.fork()
    twin.add(0)
    assert twin.allowed_mask().all()
    assert told(course, ids("aac")) == (ids("aa"), "match")
    assert course.count == 2
    assert course.matches


def test_a_match_that_ends_lets_go_of_the_beginning_of_a_stop() -> None:
    rules = Constraints(V, pattern=pattern("a+"), stops=(ids("aab"), ids("aaa")))
    assert told(rules.start(), ids("aab")) == (ids("aa"), "match")
    assert told(rules.start(), ids("aaa")) == ((), "stop")


def test_a_match_of_nothing_has_ended_before_it_begins() -> None:
    assert Constraints(V, pattern=pattern("")).start().ended == "match"
    assert Constraints(V, pattern=pattern("a*")).start().ended is None


def test_a_match_at_the_length_is_a_match() -> None:
    assert told(Constraints(V, 3, pattern=pattern("a*", 3)).start(), ids("aaa")) == (ids("aaa"), "match")


def test_a_match_that_other_rules_let_go_on_no_further_is_over() -> None:
    course = Constraints(V, 9, no_repeat=1, pattern=pattern("[ab]+")).start()
    assert told(course, ids("ba")) == (ids("ba"), "match")
    course = Constraints(V, 9, least=9, stops=(ids("aa"),), pattern=pattern("a+")).start()
    assert told(course, ids("a")) == (ids("a"), "match")


every_rule = st.builds(
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


def walked(course: ConstrainedText, text: tuple[int, ...]) -> list[object]:
    found: list[object] = []
    for id in text:
        if course.ended or not course.allowed_mask()[id]:
            break
        found += [
            course.add(id),
            course.ended,
            course.count,
            course.allowed_mask().tolist(),
            course.recent_mask().tolist(),
        ]
    return found


@given(every_rule, st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_forks_know_nothing_of_each_other(rules: Constraints, common, one, other) -> None:
    course = rules.start()
    walked(course, common)
    twin = course.fork()
    alone = course.fork()
    assert walked(course, one) == walked(alone, one)
    after = course.ended, course.count, course.allowed_mask().tolist()
    assert walked(twin, other) == walked(replayed(rules, common), other)
    assert after == (course.ended, course.count, course.allowed_mask().tolist())


def replayed(rules: Constraints, text: tuple[int, ...]) -> ConstrainedText:
    course = rules.start()
    walked(course, text)
    return course


@given(every_rule, st.sampled_from(TEXTS))
def test_where_everything_may_come_the_rules_say_so(rules: Constraints, text: tuple[int, ...]) -> None:
    course = rules.start()
    walked(course, text)
    assert course.unconstrained <= bool(course.allowed_mask().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allowed": np.zeros(V, bool)}, "--allow"),
        ({"stops": ((0,), ())}, "--stop"),
        ({"length": 3, "least": 4}, "--min-length 4"),
        ({"no_repeat": 2}, "--no-repeat"),
    ],
)
def test_rules_that_make_no_sense_name_their_option(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Constraints(V, **settings)
