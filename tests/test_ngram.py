"""N-gram models: their predictions, the choice of the order, and the command that makes them."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charrnn as package
from charrnn.config import NgramConfig
from charrnn.inference import ngram, ngram_build
from charrnn.inference.ngram import UNSEEN, Level, NGram, from_arrays, to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.inference.states import Cursor, load_state, save_state
from charrnn.runs.checkpoint import BEST, load
from tests.conftest import TEXT, charrnn

V = 4
IDS = st.lists(st.integers(0, V - 1), min_size=1, max_size=25)
ORDERS = st.integers(1, 6)


class KneserNey:
    """The equations of the paper, with a dictionary for each length of n-gram."""

    def __init__(self, text: list[int], order: int) -> None:
        self.order = min(order, len(text))
        self.counts: list[Counter[tuple[int, ...]]] = [Counter()]
        for length in range(1, self.order + 1):
            grams = [tuple(text[start : start + length]) for start in range(len(text) - length + 1)]
            before = defaultdict(set)  # the beginning of the text stands for one more character
            for start, gram in enumerate(grams):
                before[gram].add(text[start - 1] if start else None)
            continued = Counter({gram: len(characters) for gram, characters in before.items()})
            self.counts.append(Counter(grams) if length == self.order else continued)

    def discount(self, length: int, count: int) -> float:
        """D(c) of the n-grams of a length: equation 26, limited."""
        if count == 0:
            return 0.0
        n = [0] + [max(1, sum(c == k for c in self.counts[length].values())) for k in range(1, 5)]
        k = min(count, 3)
        discount = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
        return min(max(discount, 0.1), 0.9 * k)

    def probability(self, context: tuple[int, ...], last: int) -> float:
        """p(last | context)."""
        context = context[max(0, len(context) - self.order + 1) :]
        shorter = self.probability(context[1:], last) if context else 1 / V
        counts = [self.counts[len(context) + 1][(*context, symbol)] for symbol in range(V)]
        if not sum(counts):
            return shorter
        taken = [self.discount(len(context) + 1, count) for count in counts]
        return (counts[last] - taken[last] + sum(taken) * shorter) / sum(counts)


def model_of(text: list[int], order: int) -> NGram:
    return build(np.array(text), V, order)


def read(model: NGram, text: list[int]) -> np.ndarray:
    """(T, V) log-probabilities after each character."""
    logits: np.ndarray = model(np.array([text]), model.start(1))[0][0]
    return logits


@pytest.mark.slow
@given(IDS, ORDERS, IDS)
def test_the_probabilities_are_those_of_the_paper(text: list[int], order: int, context: list[int]) -> None:
    paper = KneserNey(text, order)
    for end, logits in enumerate(read(model_of(text, order), context), 1):
        expected = [paper.probability(tuple(context[:end]), last) for last in range(V)]
        np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-9)


@pytest.mark.slow
@given(IDS, ORDERS, IDS)
def test_the_probabilities_after_any_context_are_above_zero_and_sum_to_one(
    text: list[int], order: int, context: list[int]
) -> None:
    probabilities = np.exp(read(model_of(text, order), context))
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1)


@pytest.mark.slow
@given(IDS, ORDERS, IDS, IDS)
def test_a_text_read_in_two_parts_is_the_text_read_at_once(
    text: list[int], order: int, first: list[int], second: list[int]
) -> None:
    model = model_of(text, order)
    whole, types, end = model.predict(np.array([first + second]), model.start(1))
    before, types_before, state = model.predict(np.array([first]), model.start(1))
    after, types_after, state = model.predict(np.array([second]), state)
    np.testing.assert_allclose(np.concatenate([before, after], 1), whole, rtol=1e-12)
    np.testing.assert_array_equal(np.concatenate([types_before, types_after], 1), types)
    np.testing.assert_array_equal(state[0][0], end[0][0])


@pytest.mark.slow
@settings(max_examples=20)
@given(IDS, ORDERS, st.integers(1, 2 * ngram.FEW), st.randoms(use_true_random=False))
def test_each_row_of_a_batch_is_read_as_if_it_were_alone(
    text: list[int], order: int, rows: int, random
) -> None:
    model = model_of(text, order)
    batch = np.array([[random.randrange(V) for _ in range(5)] for _ in range(rows)])
    state = model.start(rows)
    for column in range(5):  # one character a call, as in sampling
        logits, state = model(batch[:, column : column + 1], state)
        for row in range(rows):
            np.testing.assert_allclose(logits[row, 0], read(model, batch[row, : column + 1].tolist())[-1])


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 255), min_size=1, unique=True).map(sorted),
    st.lists(st.integers(-1, 60), min_size=1, max_size=10),
    st.lists(st.integers(-60, 600), min_size=1, max_size=10),
    st.integers(1, 70),
)
def test_a_level_finds_what_it_holds_however_many_lookups_there_are(
    keys: list[int], nodes: list[int], wanted: list[int], symbols: int
) -> None:
    counts = np.arange(1, len(keys) + 1, dtype=np.uint16)
    level = Level(np.array(keys, np.uint8), counts)
    found = [keys.index(key) if key in keys else UNSEEN for key in wanted]
    children = [[key for key in keys if node >= 0 and key // symbols == node] for node in nodes]
    for repeat in (1, ngram.FEW + 1):  # beyond FEW by NumPy
        assert level.find(np.array(wanted * repeat)).tolist() == found * repeat
        types, child_keys, child_counts = level.children(np.array(nodes * repeat), symbols)
        assert types.tolist() == [len(part) for part in children] * repeat
        assert child_keys.tolist() == list(chain(*children)) * repeat
        assert child_counts.tolist() == [keys.index(key) + 1 for key in child_keys.tolist()]


def test_the_confidence_is_how_many_characters_follow_each_context() -> None:
    model = model_of([0, 1, 0, 2, 0, 1], 3)
    _, confidence, _ = model.predict(np.array([[1, 0, 3]]), model.start(1))
    after_1_0, after_3 = np.expm1(confidence[0, [1, 2]]).round().tolist()
    different = [2, 1]  # 0 is followed by 1 and 2, 1 0 by 2
    in_all = [3, 1]  # 0 1 follows the beginning and 2, 0 2 follows 1; 1 0 2 occurs once
    assert after_1_0 == different + in_all
    assert after_3 == [0, 0, 0, 0]


def test_a_text_of_one_character_makes_a_model_that_prefers_it() -> None:
    probabilities = np.exp(read(model_of([2], 5), [2, 0])[-1])
    assert probabilities.argmax() == 2
    np.testing.assert_allclose(probabilities.sum(), 1)


def test_an_order_beyond_the_text_is_the_length_of_the_text() -> None:
    assert model_of([0, 1, 2], 50).order == 3


@pytest.mark.slow
@given(IDS, ORDERS, IDS)
def test_a_context_that_the_text_does_not_contain_is_as_a_shorter_one(
    text: list[int], order: int, context: list[int]
) -> None:
    model = build(np.array(text), V + 1, order)  # V stands nowhere in the text
    np.testing.assert_allclose(read(model, [V, *context])[-1], read(model, context)[-1])


@pytest.mark.slow
@given(IDS, ORDERS, IDS)
def test_the_arrays_of_a_model_make_the_same_model(text: list[int], order: int, context: list[int]) -> None:
    model = model_of(text, order)
    again = from_arrays(to_arrays(model), V)
    np.testing.assert_array_equal(read(model, context), read(again, context))


# --- the choice of the order ---


def english(characters: int) -> np.ndarray:
    """The ids of words in a random order."""
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "she", "said", "no", "but", "left"]
    text = " ".join(np.random.default_rng(0).choice(words, characters))[:characters]
    return np.searchsorted(sorted(set(text)), list(text))


@pytest.mark.slow
@given(IDS, IDS)
def test_the_losses_of_the_trials_are_those_of_their_models(text: list[int], held_out: list[int]) -> None:
    ids = np.array(text)
    trials = list(ngram_build.trials(ids, V, np.array(held_out)))
    assert [trial.model.order for trial in trials] == list(range(1, len(trials) + 1))
    for trial in trials:
        alone = build(ids, V, trial.model.order)
        for model in (trial.model, alone):
            assert ngram_build.loss(model, ids[-1:], np.array(held_out)) == pytest.approx(trial.nats)


def test_the_model_has_the_longest_order_with_a_loss_near_the_lowest() -> None:
    ids = english(3000)
    tried: list[ngram_build.Trial] = []
    fitted = ngram_build.fit(ids[:2500], ids[2500:], int(ids.max()) + 1, tried=tried.append)
    losses = [trial.nats for trial in tried]
    near = [order for order, nats in enumerate(losses, 1) if nats <= min(losses) + ngram_build.TOLERANCE]
    assert fitted.model.order == near[-1]
    assert fitted.validation_nats == losses[near[-1] - 1]
    assert min(losses[-ngram_build.PATIENCE :]) > min(losses) - ngram_build.LEAST_GAIN
    assert near[0] > 2


def test_the_loss_of_a_long_validation_part_is_that_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = english(3000)
    train, validation, symbols = ids[:2500], ids[2500:], int(ids.max()) + 1
    monkeypatch.setattr(ngram_build, "COMPARED", 400)
    fitted = ngram_build.fit(train, validation, symbols)
    assert fitted.validation_nats == ngram_build.loss(fitted.model, train[-1:], validation)


def test_the_order_is_short_for_noise_and_long_for_a_text_that_repeats_itself() -> None:
    noise = np.random.default_rng(0).integers(0, V, 2000)
    assert ngram_build.fit(noise[:1500], noise[1500:], V).model.order < 4
    phrase = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2] * 100)
    assert ngram_build.fit(phrase[:1000], phrase[1000:], 3).model.order > 6


def test_any_nodes_in_a_saved_state_give_probabilities(tmp_path: Path) -> None:
    model = model_of([0, 1, 2, 0, 1], 4)
    nodes = np.array([[10**18, -(10**18), 3]])
    save_state(tmp_path / "state", Cursor(np.array([1]), ((nodes,),)), {})
    cursor = load_state(tmp_path / "state", {}, model, V)
    for rows in (1, ngram.FEW + 1):
        state = ((cursor.state[0][0].repeat(rows, 0),),)
        logits, _ = model(cursor.unread[None].repeat(rows, 0), state)
        np.testing.assert_allclose(np.exp(logits).sum(-1), 1)


# --- the command ---


@pytest.fixture
def text() -> Path:
    path = Path("notes.txt")
    path.write_text(TEXT)
    return path


@pytest.fixture
def notes(text: Path) -> Path:
    """The checkpoint that ``charrnn ngram notes.txt`` made."""
    ran = charrnn("ngram", "notes.txt")
    assert ran.status == 0, ran.err
    return Path(ran.text.strip())


def test_the_command_prints_only_the_path_of_a_checkpoint(text: Path) -> None:
    ran = charrnn("ngram", "notes.txt")
    assert ran.text == f"checkpoints/notes-ngram/{BEST}\n"
    header = load(Path(ran.text.strip())).header
    assert header.name == "notes-ngram"
    assert header.origin["texts"] == [str(text.absolute())]
    assert header.corpus["characters"] == len(TEXT)
    assert header.training.split == (90, 5, 5)


def test_the_facts_name_the_text_each_order_and_a_command_that_works(text: Path) -> None:
    err = charrnn("ngram", "notes.txt").err
    assert "text   notes.txt: 1,920 characters, 17 symbols; 1,728 train, 96 validate, 96 test\n" in err
    orders = [line for line in err.splitlines() if line.startswith("order")]
    losses = [float(re.findall(r"validation ([\d.]+)", line)[0]) for line in orders]
    near = [order for order, nats in enumerate(losses, 1) if nats <= min(losses) + ngram_build.TOLERANCE]
    assert f"model  {near[-1]}-gram: " in err
    command = err.splitlines()[-1].removeprefix("to sample: charrnn ")
    ran = charrnn(*command.split(), "--length", "20", "--seed", "1")
    assert (ran.status, len(ran.out)) == (0, 20)


def test_the_validation_loss_is_that_of_reading_the_part_after_the_character_before_it(notes: Path) -> None:
    loaded = load(notes)
    ids = loaded.header.vocabulary.encode(TEXT)
    model = from_arrays(loaded.weights, len(loaded.header.vocabulary))
    logits, _ = model(ids[None, 1727:1823], model.start(1))
    nats = -logits[0, np.arange(96), ids[1728:1824]].mean()
    assert loaded.header.results["validation_nats"] == pytest.approx(nats, abs=1e-12)
    assert loaded.header.results["validation_bpc"] == pytest.approx(nats / np.log(2), abs=1e-12)


def test_an_order_that_is_given_is_not_chosen(text: Path) -> None:
    ran = charrnn("ngram", "notes.txt", "--order", "2")
    loaded = load(Path(ran.text.strip()))
    assert loaded.header.model == NgramConfig(2)
    assert ran.err.count("order  ") == 1
    assert loaded.header.results["validation_nats"] > 0.1


def test_a_second_run_gets_a_number_and_a_name_that_is_taken_is_an_error(notes: Path) -> None:
    second = charrnn("ngram", "notes.txt")
    assert second.text == f"checkpoints/notes-ngram-2/{BEST}\n"
    assert "run notes-ngram exists: this run is called notes-ngram-2\n" in second.err
    taken = charrnn("ngram", "notes.txt", "--name", "notes-ngram")
    assert (taken.status, taken.err.count("\n")) == (1, 1)
    assert "exists: give another --name" in taken.err


def test_without_a_validation_part_the_order_is_fixed(text: Path) -> None:
    ran = charrnn("ngram", "notes.txt", "--split", "100,0,0")
    assert f"model  {ngram_build.DEFAULT_ORDER}-gram" in ran.err
    header = load(Path(ran.text.strip())).header
    assert header.results.keys() == {"ngrams"}
    text.write_text("a short text")
    ran = charrnn("ngram", "notes.txt")
    assert "12 train, 0 validate, 0 test" in ran.err
    assert "model  6-gram" in ran.err


def test_an_order_beyond_the_text_is_limited_with_a_note(text: Path) -> None:
    text.write_text("abcabc")
    ran = charrnn("ngram", "notes.txt", "--order", "100")
    assert "the training part has 6 characters: order 6 instead of 100\n" in ran.err
    assert load(Path(ran.text.strip())).header.model == NgramConfig(6)


@pytest.mark.slow
def test_stdin_bytes_and_folders_are_read_as_by_train(text: Path) -> None:
    data = bytes(range(256)) * 8
    ran = charrnn("ngram", "--bytes", stdin=data)
    assert ran.text == f"checkpoints/stdin-ngram/{BEST}\n"
    assert load(Path(ran.text.strip())).header.vocabulary.byte_level
    sampled = charrnn("sample", "stdin-ngram", "--length", "300", "--seed", "1")
    assert len(sampled.out) == 300
    assert max(sampled.out) > 127
    Path("folder").mkdir()
    text.rename("folder/notes.txt")
    ran = charrnn("ngram", "folder", "--glob", "*.txt", "--quiet")
    assert (ran.text, ran.err) == (f"checkpoints/folder-ngram/{BEST}\n", "")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.txt"], 1, "no file or folder missing.txt"),
        (["empty.txt"], 1, "empty.txt: the text is empty"),
        (["one.txt"], 1, "one.txt: 1 character: training needs at least 2"),
        (["binary"], 1, "is not utf-8"),
        (["notes.txt", "--order", "0"], 2, "--order 0: must be a whole number from 1 to 100"),
        (["notes.txt", "--order", "101"], 2, "--order 101: must be"),
        (["notes.txt", "--order", "seven"], 2, "--order seven: must be a whole number"),
        (["notes.txt", "--split", "0,1,1"], 2, "the first above 0"),
        (["notes.txt", "--glob", "*.py"], 2, "charrnn ngram FOLDER --glob '*.txt'"),
        (["notes.txt", "--bytes", "--encoding", "latin-1"], 2, "--encoding has no effect with --bytes"),
        (["notes.txt", "--hidden", "5"], 2, "no option is called --hidden"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_makes_no_run(
    arguments: list[str], status: int, message: str, text: Path
) -> None:
    Path("empty.txt").touch()
    Path("one.txt").write_text("a")
    Path("binary").write_bytes(b"\xff\xfe\x00" * 50)
    ran = charrnn("ngram", *arguments)
    assert (ran.status, ran.out) == (status, b"")
    assert ran.err.count("\n") == 1
    assert message in ran.err
    assert not Path("checkpoints").exists()


def test_ctrl_c_leaves_no_run(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ngram_build, "build", interrupted)
    ran = charrnn("ngram", "notes.txt", "--order", "3")
    assert ran.status == 130
    assert "Ctrl-C: stopped before the first save, nothing is kept\n" in ran.err
    assert not Path("checkpoints").exists()


# --- the other commands ---


def test_info_describes_an_n_gram_model_and_nothing_of_a_network(notes: Path) -> None:
    facts = json.loads(charrnn("info", "--json").out)
    assert facts["order"] == len(facts["ngrams_by_length"])
    assert facts["ngrams_by_length"][0] == 17
    assert facts["size_bytes"] == notes.stat().st_size
    assert facts["validation_nats"] > 0
    assert facts["training"] == {"split": [90, 5, 5]}
    assert not facts.keys() & {"hidden", "layers", "cell", "parameters", "steps", "train_nats", "resumable"}
    shown = charrnn("info").text
    assert "\ntraining           split 90,5,5\n" in shown
    assert "None" not in shown


def test_runs_lists_compares_renames_and_removes_n_gram_models(notes: Path, run: Path) -> None:
    listed = {line.split()[0]: line for line in charrnn("runs").text.splitlines()}
    order = load(notes).header.model.title
    assert order in listed["notes-ngram"]
    assert "lstm 2 x 6" in listed["tiny"]
    compared = charrnn("runs", "diff", "notes-ngram", "tiny").text
    assert ["order", order.removesuffix("-gram"), "-"] in [line.split() for line in compared.splitlines()]
    assert charrnn("runs", "mv", "notes-ngram", "counted").status == 0
    assert load(Path("checkpoints/counted", BEST)).header.name == "counted"
    assert charrnn("runs", "rm", "counted", "--yes").status == 0
    assert not Path("checkpoints/counted").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--match", "(the|no) [a-z]{3,5}\\."],
        ["--beam", "3", "--length", "20"],
        ["--count", "3", "--json", "--length", "10", "--seed", "1"],
        ["--scores", "--length", "10", "--seed", "1"],
        ["--no-repeat", "4", "--top-p", "0.9", "--length", "20", "--seed", "1"],
        ["--save-state", "state", "--length", "10", "--seed", "1"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("order", ["1", "5"])
def test_sampling_works_as_with_a_network(arguments: list[str], order: str, text: Path) -> None:
    path = charrnn("ngram", "notes.txt", "--order", order).text.strip()
    ran = charrnn("sample", path, *arguments)
    assert ran.status == 0, ran.err
    assert ran.out


@pytest.mark.slow
def test_a_saved_state_continues_the_text(notes: Path) -> None:
    options = ["--temperature", "0"]
    whole = charrnn("sample", "notes-ngram", "--length", "40", *options).out
    first = charrnn("sample", "notes-ngram", "--length", "15", "--save-state", "state", *options).out
    rest = charrnn("sample", "notes-ngram", "--length", "25", "--load-state", "state", *options).out
    assert first + rest == whole


def test_score_of_the_validation_part_is_the_loss_that_was_reported(notes: Path) -> None:
    scored = json.loads(charrnn("score", "notes-ngram", "--part", "validation", "--json").out)
    reported = load(notes).header.results["validation_nats"]
    assert scored["loss"] == pytest.approx(reported, abs=1e-9)


def test_a_high_order_repeats_the_text(notes: Path) -> None:
    path = charrnn("ngram", "notes.txt", "--order", "20").text.strip()
    written = charrnn("sample", path, "--prompt", "the", "--temperature", "0", "--length", "200").text
    assert written in TEXT * 2


def test_python_loads_and_scores_an_n_gram_model(notes: Path) -> None:
    model = package.load("notes-ngram")
    assert "-gram" in repr(model)
    assert model.bits_per_character(TEXT[:200]) < 1
    assert len(model.generate("the", length=30, seed=1)) == 30
    with pytest.raises(package.ConfigError, match="is an n-gram model"):
        model.unit("the", 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect-cell", "notes-ngram", "--sample", "5"],
        ["gradient-flow", "notes-ngram"],
        ["train", "notes.txt", "--from", "notes-ngram"],
        ["train", "--resume", "notes-ngram"],
    ],
    ids=lambda arguments: arguments[0] + arguments[-2],
)
def test_commands_for_networks_refuse_an_n_gram_model(arguments: list[str], notes: Path) -> None:
    ran = charrnn(*arguments)
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.count("\n") == 1
    assert "is an n-gram model" in ran.err
