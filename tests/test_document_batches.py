"""Each epoch reads every document once, in order and without padding; a window depends on its place alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.training import document_batches
from charrnn.training.document_batches import (
    MOST_CUTS,
    SLICE,
    START,
    DocumentBatches,
    Place,
    Window,
    parts,
    rows_of,
    slices,
)

EPOCHS = 2


@pytest.fixture(scope="module", autouse=True)
def _any_number_of_rows() -> Iterator[None]:
    """Numbers of rows are not rounded, so that the laws are exact; the last tests look at the rounding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_batches, "SAME", 1)
        yield


@st.composite
def batches(draw: st.DrawFn) -> DocumentBatches:
    lengths = draw(st.lists(st.integers(2, 12) | st.integers(2, 80), min_size=1, max_size=30))
    streams, bptt = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    return DocumentBatches(np.array(lengths, np.int64), streams, bptt, draw(st.integers(0, 2**63 - 1)))


def windows(batches: DocumentBatches, epochs: int = EPOCHS) -> list[tuple[Window, Place]]:
    """The windows in which the first epochs are read to their ends, each with the place after it."""
    result, place = [], START
    while place.epoch < epochs or (place.open[:, 2] < epochs).any():
        window, place = batches.window(place)
        result.append((window, place))
    return result


# Windows


@given(batches())
def test_each_epoch_reads_every_character_of_every_document_once_and_in_order(
    batches: DocumentBatches,
) -> None:
    read: dict[tuple[int, int], list[int]] = defaultdict(list)
    for window, _ in windows(batches):
        documents, offsets, lengths = window.rows
        for document, offset, length, epoch in zip(documents, offsets, lengths, window.epochs, strict=True):
            read[int(epoch), int(document)] += range(offset, offset + length)
    for epoch in range(EPOCHS):
        for document, length in enumerate(batches.lengths):
            assert read[epoch, document] == list(range(length))


@given(batches())
def test_a_row_goes_on_from_the_row_that_had_its_document_before(batches: DocumentBatches) -> None:
    ends: list[tuple[int, int, int]] = []  # of the rows of the window before that go on
    for window, place in windows(batches):
        documents, offsets, lengths = window.rows
        continued = [before for before in window.before.tolist() if before >= 0]
        assert sorted(continued) == list(range(len(ends)))
        for row, before in enumerate(window.before.tolist()):
            begins = (int(documents[row]), 0, int(window.epochs[row]))
            assert (documents[row], offsets[row], window.epochs[row]) == (
                begins if before < 0 else ends[before]
            )
        going = len(place.open)
        goes_on = offsets + lengths < batches.lengths[documents]
        assert goes_on.tolist() == [True] * going + [False] * (len(documents) - going)
        assert lengths[:going].tolist() == [batches.bptt] * going
        assert (offsets + lengths <= batches.lengths[documents]).all()
        ends = list(
            zip(documents.tolist(), (offsets + lengths).tolist(), window.epochs.tolist(), strict=True)
        )
        ends = ends[:going]
        assert [tuple(row) for row in place.open.tolist()] == ends


@given(batches())
def test_windows_are_as_near_to_the_characters_of_a_step_as_whole_rows_can_be(
    batches: DocumentBatches,
) -> None:
    beginnings = np.minimum(batches.lengths, batches.bptt)
    assert batches.budget == min(batches.streams * batches.bptt, beginnings.sum())
    widest = min(batches.bptt, batches.lengths.max())
    for window, _ in windows(batches):
        lengths = window.rows.lengths
        assert abs(lengths.sum() - batches.budget) <= widest / 2
        assert 1 <= lengths.min() <= lengths.max() <= batches.bptt
        assert (np.diff(lengths) <= 0).all()


@pytest.mark.parametrize(
    ("lengths", "streams", "bptt"),
    [([5] * 100 + [9] * 50, 4, 16), ([100, 90, 80, 5, 6] * 10, 4, 16), ([100, 300], 8, 16), ([7, 5], 4, 4)],
)
def test_an_epoch_takes_about_the_steps_that_are_foretold(
    lengths: list[int], streams: int, bptt: int
) -> None:
    batches = DocumentBatches(np.array(lengths), streams, bptt, 1)
    begun = [place.epoch for _, place in windows(batches, 100)]
    assert 100 * batches.steps_per_epoch == pytest.approx(len(begun), rel=0.05)


@given(batches())
def test_a_window_depends_on_its_place_alone_and_a_place_comes_back_from_its_array(
    batches: DocumentBatches,
) -> None:
    settings = (batches.lengths, batches.streams, batches.bptt, batches.seed)
    all_windows = windows(batches)
    for (_, place), (expected, _) in reversed(list(pairwise(all_windows))):
        array = place.to_array()
        assert array.dtype == np.int64
        fresh = DocumentBatches(*settings)
        restored = fresh.place(array)
        assert (restored.to_array() == array).all()
        result, _ = fresh.window(restored)
        assert (np.array(result.rows) == np.array(expected.rows)).all()
        assert result.before.tolist() == expected.before.tolist()
        assert result.epochs.tolist() == expected.epochs.tolist()


def test_a_few_long_documents_are_not_read_several_times_side_by_side() -> None:
    batches = DocumentBatches(np.full(10, 1280), 32, 64, 1)
    for window, _ in windows(batches, 1):
        assert sorted(window.rows.documents.tolist()) == list(range(10))
    assert len(windows(batches, 1)) == batches.steps_per_epoch == 20


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 8))
def test_parts_cover_each_document_once_and_only_long_documents_have_several(
    lengths: list[int], streams: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_batches, "WHOLE", 50)
        cut = parts(np.arange(len(lengths)), np.array(lengths), streams)
    longest = max(50, -(-sum(lengths) // streams))
    covered: dict[int, list[int]] = defaultdict(list)
    for document, offset, length in zip(*map(np.ndarray.tolist, cut), strict=True):
        covered[document] += range(offset, offset + length)
        assert length == lengths[document] if lengths[document] <= longest else length <= longest
    assert covered == {document: [*range(length)] for document, length in enumerate(lengths)}


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = [
        DocumentBatches(np.full(50, 9), 4, 16, seed).order(epoch).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert all(one != other for one, other in combinations(orders, 2))


def test_a_window_has_rows_of_similar_lengths_and_windows_are_in_any_order() -> None:
    lengths = np.random.default_rng(0).integers(2, 64, 5000)
    batches = DocumentBatches(lengths, 32, 64, 1)
    rows = [window.rows.lengths for window, _ in windows(batches, 1)][:-1]
    assert np.mean([row.std() for row in rows]) < 0.25 * lengths.std()
    means = np.array([row.mean() for row in rows])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.4
    assert means.std() > 0.5 * lengths.std()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.int64),
        np.zeros(3, np.int64),
        np.zeros((1, 2), np.int64),
        np.zeros((1, 3), np.int32),
        np.zeros((1, 3)),
        np.array([[-1, 0, 0]]),
        np.array([[0, -1, 0]]),
        np.array([[0, 3, 0]]),
        np.array([[0, 0, 0], [3, 1, 0]]),
        np.array([[0, 0, 0], [-1, 1, 0]]),
        np.array([[0, 0, 0], [0, 9, 0]]),
        np.array([[0, 0, 0], [0, -1, 0]]),
        np.array([[0, 0, 0], [0, 1, 1]]),
        np.array([[5, 0, 0], [0, 1, -1]]),
    ],
)
def test_a_damaged_place_is_refused(array: np.ndarray) -> None:
    batches = DocumentBatches(np.array([9, 5, 7]), 2, 4, 1)
    assert batches.place(np.array([[1, 2, 0], [0, 8, 1]])).open.tolist() == [[0, 8, 1]]
    with pytest.raises(ValueError, match="not a place in these documents"):
        batches.place(array)


# Slices

row_lengths = st.lists(st.integers(1, 12) | st.integers(1, 300), min_size=1, max_size=60).map(
    lambda lengths: np.array(sorted(lengths, reverse=True))
)


def cost(bounds: list[tuple[int, int, int]]) -> int:
    return sum((stop - start) * rows + SLICE for start, stop, rows in bounds)


def bounds_at(cuts: list[int], lengths: np.ndarray) -> list[tuple[int, int, int]]:
    return [(start, stop, int((lengths > start).sum())) for start, stop in pairwise([0, *cuts])]


@given(row_lengths)
def test_slices_cover_every_character_of_the_rows_once(lengths: np.ndarray) -> None:
    cut = slices(lengths)
    inside = list(zip(cut.row[cut.inside].tolist(), cut.position[cut.inside].tolist(), strict=True))
    expected = {(row, position) for row, length in enumerate(lengths) for position in range(length)}
    assert len(inside) == len(expected)
    assert set(inside) == expected


@given(row_lengths)
def test_slices_follow_each_other_and_have_the_rows_that_have_not_ended(lengths: np.ndarray) -> None:
    cut = slices(lengths)
    assert cut.bounds == bounds_at([stop for _, stop, _ in cut.bounds], lengths)
    assert cut.bounds[-1][1] == lengths[0]
    rows = [
        (row, position)
        for start, stop, rows in cut.bounds
        for position in range(start, stop)
        for row in range(rows)
    ]
    assert list(zip(cut.row.tolist(), cut.position.tolist(), strict=True)) == rows
    assert len(rows) == cost(cut.bounds) - SLICE * len(cut.bounds)


@given(row_lengths)
def test_slices_take_no_more_time_than_one_slice_or_one_for_each_length(lengths: np.ndarray) -> None:
    best = cost(slices(lengths).bounds)
    assert best <= cost([(0, int(lengths[0]), len(lengths))])
    assert best <= cost(bounds_at(np.unique(lengths).tolist(), lengths))
    assert len(np.unique(lengths)) <= MOST_CUTS


@given(st.lists(st.integers(1, 900), min_size=1, max_size=7))
def test_no_other_slices_take_less_time(lengths: list[int]) -> None:
    rows = np.repeat(sorted(lengths, reverse=True), 5)
    *ends, last = np.unique(rows).tolist()
    every = [cuts for count in range(len(ends) + 1) for cuts in combinations(ends, count)]
    assert cost(slices(rows).bounds) == min(cost(bounds_at([*cuts, last], rows)) for cuts in every)


def test_rows_of_many_lengths_are_cut_at_a_few_of_them() -> None:
    lengths = np.repeat(np.arange(1000, 0, -1), 10)
    cut = slices(lengths)
    assert 2 <= len(cut.bounds) <= MOST_CUTS
    assert cut.inside.sum() == lengths.sum()
    assert cost(cut.bounds) < 1.03 * lengths.sum()


@given(st.lists(st.integers(2, 50), min_size=1))
def test_whole_documents_as_rows_are_the_longest_first(lengths: list[int]) -> None:
    rows = rows_of(range(len(lengths)), np.array(lengths))
    assert sorted(rows.documents.tolist()) == list(range(len(lengths)))
    assert rows.lengths.tolist() == [lengths[document] for document in rows.documents]
    assert rows.lengths.tolist() == sorted(lengths, reverse=True)
    assert not rows.offsets.any()


@given(row_lengths, st.integers(1, 9))
def test_slices_have_multiples_of_a_number_of_rows_and_still_cover_each_character_once(
    lengths: np.ndarray, same: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_batches, "SAME", same)
        cut = slices(lengths)
    assert all(rows % same == 0 or rows == len(lengths) for _, _, rows in cut.bounds)
    assert cut.inside.sum() == lengths.sum()
    inside = set(zip(cut.row[cut.inside].tolist(), cut.position[cut.inside].tolist(), strict=True))
    assert len(inside) == lengths.sum()


def test_windows_of_many_rows_have_a_multiple_of_rows_and_the_same_characters_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document_batches, "SAME", 4)
    lengths = np.random.default_rng(0).integers(2, 90, 3000)
    read = [window.rows.lengths for window, _ in windows(DocumentBatches(lengths, 32, 64, 1))]
    several = [rows for rows in read[:-1] if len(rows) >= document_batches.FEW]
    assert np.mean([len(rows) % 4 == 0 for rows in several]) > 0.95  # but for windows at the end of an epoch
    assert np.mean([rows.sum() for rows in read]) == pytest.approx(32 * 64, rel=0.02)
