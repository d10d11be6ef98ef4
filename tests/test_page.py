"""The page of ``inspect-cell --html``: its numbers, and how it behaves in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from charrnn.cli import inspect_html
from charrnn.config import ModelConfig
from charrnn.inference.choice import log_softmax
from charrnn.inference.network import Inference
from charrnn.inspection.activations import every_signal, watch_stream
from charrnn.inspection.page_data import MIDDLE, NATS_STEPS, as_bytes, read_text, scales
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ALL_UNITS = [(layer, unit) for layer in range(2) for unit in range(6)]


def network(cell: str = "lstm", symbols: int = 9) -> Inference:
    config = ModelConfig(cell=cell, layers=2, hidden=6, embedding=4)
    return Inference(config, random_weights(config, symbols))


def save_model(name: str, symbols: str, byte_level: bool = False, cell: str = "lstm") -> None:
    config = ModelConfig(cell=cell, layers=2, hidden=6, embedding=4)
    folder = Path("checkpoints", name)
    folder.mkdir(parents=True)
    header = Header(config, Vocabulary("".join(sorted(symbols)), byte_level))
    save_checkpoint(folder / BEST, header, random_weights(config, len(symbols)))


# --- the numbers ---


@pytest.mark.parametrize("units", [ALL_UNITS, [(1, 4)], [(0, 2), (0, 5), (1, 0)]])
def test_the_values_and_predictions_are_those_of_the_network(units: list) -> None:
    inference, ids = network(), np.random.default_rng(0).integers(0, 9, 700).astype(np.uint8)
    reading = read_text(inference, ids, units, threads=2)
    (piece,) = [*watch_stream(inference, [ids[:512]], every_signal(inference))]
    for row, (layer, unit) in enumerate(units):
        for index, name in enumerate(inference.cell.signals):
            (values,) = (v for signal, v in piece.values.items() if signal == (layer, name))
            np.testing.assert_allclose(reading.values[row, index, :512], values[:, unit], atol=1e-3)
    scores = log_softmax(piece.logits)
    order = np.argsort(-scores, 1)[:, :5]
    np.testing.assert_array_equal(reading.likeliest[:512], order)
    following = np.column_stack([order[:-1], ids[1:512]])
    expected = -np.take_along_axis(scores[:-1], following, 1)
    np.testing.assert_allclose(reading.surprise[:511] / NATS_STEPS, expected, atol=1 / NATS_STEPS)


@given(
    npst.arrays(
        np.float16, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.floats(-9, 9, width=16)
    )
)
def test_a_byte_is_a_value_to_half_a_step_of_its_scale(values: np.ndarray) -> None:
    encoded = as_bytes(values)
    assert encoded.max() <= 2 * MIDDLE
    every = zip(values.astype(float), encoded.astype(float), scales(values), strict=True)
    for row, byte_row, scale in every:
        assert scale == max(1, np.abs(row).max())
        np.testing.assert_allclose((byte_row - MIDDLE) / MIDDLE * scale, row, atol=0.51 * scale / MIDDLE)


def test_values_without_bounds_are_kept(run: Path) -> None:
    inference = network("mingru")
    inference.table *= 1000
    reading = read_text(inference, np.zeros(10, np.uint8), ALL_UNITS, threads=1)
    assert np.isfinite(reading.values).all()
    assert np.abs(reading.values).max() > 100


# --- the command ---


def refusal(*arguments: str, stdin: bytes = TEXT.encode()) -> str:
    done = charrnn("inspect-cell", *arguments, stdin=stdin)
    assert done.status in (1, 2)
    assert not done.out
    return done.err


def test_a_page_that_cannot_be_written_is_refused_before_the_text_is_read(run: Path) -> None:
    Path("page.html").write_text("mine")
    for path, message in (
        ("page.html", "this file exists: delete it, or name another"),
        (".", "this is a folder: name a file"),
        ("no/page.html", "there is no folder no"),
    ):
        assert f"--html {path}: {message}" in refusal("tiny", "no such text", "--html", path)
    assert "would be standard output" in refusal("--html", "-")
    assert Path("page.html").read_text() == "mine"


def test_score_refuses_a_page_that_exists(run: Path) -> None:
    Path("page.html").write_text("mine")
    done = charrnn("score", "tiny", "--html", "page.html", stdin=TEXT.encode())
    assert done.status == 1
    assert "this file exists" in done.err
    assert Path("page.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit", "6"], "--unit 6: the model has units 0 to 5"),
        (["--layer", "2"], "--layer 2: the model has layers 0 to 1"),
        (["--of", "reset"], "--of reset: the model's cell has hidden"),
        (["--gradients", "no.json"], "--gradients no.json: No such file"),
        (["--gradients", "bad.json"], "--gradients bad.json: must be the output of gradient-flow --json"),
        (["--gradients", "empty.json"], "--gradients empty.json: must be the output of gradient-flow --json"),
    ],
)
def test_wrong_values_are_refused_and_leave_no_page(run: Path, arguments: list, message: str) -> None:
    Path("bad.json").write_text('{"distance": 1}\n')
    Path("empty.json").touch()
    assert message in refusal("--html", "page.html", *arguments)
    assert not Path("page.html").exists()


def test_a_full_disk_leaves_no_page(run: Path) -> None:
    assert "No space left" in refusal("--html", "/dev/full")


def test_a_text_that_leaves_no_room_for_all_units_has_those_that_were_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"the cat sat on the mat.\n"
    monkeypatch.setattr(inspect_html, "BUDGET", len(text) * (18 + 6 * 3))
    done = charrnn("inspect-cell", "--html", "page.html", "--layer", "1", "--unit", "3,5", stdin=text)
    assert done.status == 0
    assert "values of 2 of the 12 units" in done.err
    assert "at most 9 characters" in done.err
    assert [(unit["layer"], unit["unit"]) for unit in page_data()["units"]] == [(1, 3), (1, 5)]
    message = refusal("--html", "other.html", "--unit", "all", stdin=text)
    assert "24 characters are too many for a page with 6 units; give a text of at most 16" in message


def page_data(path: str = "page.html") -> dict:
    page = Path(path).read_text()
    data: dict = json.loads(page.split('id="data">')[1].split("</script>")[0])
    return data


def test_a_text_of_one_character_has_a_page_without_a_ranking(run: Path) -> None:
    done = charrnn("inspect-cell", "--html", "page.html", stdin=b"t")
    assert done.status == 0
    assert "the page has no ranking of units: the text has 1 character" in done.err
    assert page_data()["finds"] == []


def test_the_page_is_of_the_text_that_was_named(run: Path) -> None:
    Path("folder").mkdir()
    Path("folder/<text>.txt").write_text(TEXT)
    charrnn("inspect-cell", "tiny", "folder/<text>.txt", "--html", "page.html")
    assert "reads &lt;text&gt;.txt, 1,920 characters" in Path("page.html").read_text()
    charrnn("inspect-cell", "tiny", "--html", "sample.html", "--sample", "90")
    assert "reads a sample of its own, 90 characters" in Path("sample.html").read_text()


# --- in a browser ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    programs = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, programs), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


Show = Callable[..., "Page"]


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Opens page.html without a network. At the end, the page asked for no other file and logged nothing."""
    messages: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(**settings: object) -> Page:
        context = browser.new_context(offline=True, **settings)  # type: ignore[arg-type]
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(Path("page.html").resolve().as_uri())
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert set(requests) == {Path("page.html").resolve().as_uri()}


def make_page(*arguments: str, text: str = TEXT) -> None:
    Path("text.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = charrnn("inspect-cell", *arguments, "--html", "page.html", "text.txt")
    assert done.status == 0, done.err


def cell_style(page: Page, index: int, name: str) -> str:
    return str(page.locator("main i").nth(index).evaluate(f"cell => getComputedStyle(cell).{name}"))


def chosen(page: Page) -> tuple[int, int, str]:
    """The layer, the unit and the signal that the controls show."""
    signal = page.locator("#signal option:checked").inner_text()
    return int(page.input_value("#layer")), int(page.input_value("#unit")), signal


@pytest.mark.slow
def test_pointing_at_a_character_shows_its_values_and_the_likeliest_next(run: Path, show: Show) -> None:
    make_page("tiny", "--layer", "1", "--unit", "4", "--of", "output")
    page = show()
    assert chosen(page) == (1, 4, "output gate")
    checkpoint = load(run / BEST)
    vocabulary = checkpoint.header.vocabulary
    inference, ids = Inference(checkpoint.header.network, checkpoint.weights), vocabulary.encode(TEXT)
    (piece,) = [*watch_stream(inference, [ids[:40]], every_signal(inference))]
    page.locator("main i").nth(30).hover()
    details = page.inner_text("#details")
    for index, name in enumerate(inference.cell.signals):
        (values,) = (v for signal, v in piece.values.items() if signal == (1, name))
        shown = page.locator("#details .row").nth(index).inner_text().replace("−", "-").split()[-1]
        assert float(shown) == pytest.approx(values[30, 4], abs=0.011)
    scores = log_softmax(piece.logits)[30]
    for row, symbol in enumerate(np.argsort(-scores)[:5]):
        shown = page.locator("#details .next .row").nth(row).inner_text()
        assert float(shown.split()[-2]) == pytest.approx(100 * np.exp(scores[symbol]), rel=0.06)
    assert "came" in details
    assert "line 1, column 31" in details


@pytest.mark.slow
def test_the_colour_of_a_character_is_the_units_value(run: Path, show: Show) -> None:
    make_page("tiny", "--unit", "2", "--of", "hidden")
    page = show()
    for index in range(0, 60, 7):
        page.locator("main i").nth(index).hover()
        value = float(page.locator("#details .now").inner_text().split()[-1].replace("−", "-"))
        red, _, blue, alpha = parse_colour(cell_style(page, index, "backgroundColor"))
        assert alpha == pytest.approx(abs(value), abs=0.01)
        if abs(value) > 0.02:
            assert (red > blue) == (value < 0)


def parse_colour(text: str) -> list[float]:
    """The red, green, blue and alpha of a computed colour."""
    parts = [float(part) for part in text[text.index("(") + 1 : -1].replace("/", ",").split(",")]
    return [*parts, 1.0] if len(parts) == 3 else parts


@pytest.mark.slow
def test_a_click_on_a_find_shows_its_unit_and_underlines_its_concept(run: Path, show: Show) -> None:
    make_page("tiny", "--find-regex", "cat|mat")
    page = show()
    finds = page_data()["finds"]
    for index in (1, 0):
        page.locator("#finds button").nth(index).click()
        unit = page_data()["units"][finds[index]["unit"]]
        signal = page_data()["signals"][finds[index]["signal"]]["label"]
        assert chosen(page) == (unit["layer"], unit["unit"], signal)
        assert page.locator("#finds [aria-current=true]").count() == 1
    line = TEXT.split("\n")[0]
    underlined = [cell_style(page, index, "boxShadow") != "none" for index in range(len(line))]
    words = [line.index("cat"), line.index("mat")]
    assert [index for index, on in enumerate(underlined) if on] == [w + k for w in words for k in range(3)]
    page.keyboard.press("m")
    assert cell_style(page, words[0], "boxShadow") == "none"
    page.keyboard.press("m")
    assert cell_style(page, words[0], "boxShadow") != "none"


@pytest.mark.slow
def test_the_keys_move_through_the_text_and_through_the_units(run: Path, show: Show) -> None:
    make_page("tiny", "--unit", "5")
    page = show()

    def press(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return page.inner_text("#details h2")

    assert "line 1, column 1" in press()
    assert "line 1, column 3" in press("ArrowRight", "ArrowRight")
    assert "line 2, column 3" in press("ArrowDown")
    assert "line 2, column 1" in press("Home", "ArrowLeft", "ArrowRight")
    assert "line 2, column 48" in press("End")
    assert "line 1, column 48" in press("ArrowUp")
    assert page.locator("i.cursor").inner_text() == "\n"
    assert chosen(page) == (0, 5, "cell state")
    for key, expected in (
        ("n", (1, 0, "cell state")),
        ("[", (0, 5, "cell state")),
        ("s", (0, 5, "input gate")),
        ("p", (0, 4, "input gate")),
    ):
        press(key)
        page.wait_for_function(f"document.querySelector('#unit').value == {expected[1]}")
        assert chosen(page) == expected
    press("/", "2", "Enter")
    page.wait_for_function("document.querySelector('#unit').value == 2")
    assert page.evaluate("document.activeElement.id") == "text"
    press("/", "9", "9", "Enter")
    assert (
        page.inner_text("#message") == "There is no unit 99 of layer 0 on this page. It has the units 0 to 5."
    )


@pytest.mark.slow
def test_a_click_on_a_dot_of_the_gates_shows_its_unit(run: Path, show: Show) -> None:
    make_page("tiny")
    page = show()
    layer = int(page.input_value("#layer"))
    dots = page.locator("#gates figure").nth(1).locator("circle")
    assert dots.count() == 6
    dot = dots.first
    unit = page_data()["units"][int(dot.get_attribute("data-unit") or 0)]
    dot.click(force=True)
    page.wait_for_function("document.querySelector('#signal').selectedOptions[0].label == 'forget gate'")
    shown = page_data()["units"][int(page.locator("#gates circle.now").first.get_attribute("data-unit") or 0)]
    assert shown["layer"] == layer
    assert np.abs(np.subtract(shown["saturated"], unit["saturated"]))[1].max() < 0.1


@pytest.mark.slow
def test_the_curves_of_the_run_and_of_the_gradients_are_drawn_where_there_are_any(
    run: Path, show: Show
) -> None:
    make_page("tiny")
    page = show()
    assert page.is_hidden("#loss")
    assert page.is_hidden("#gradients")
    reports = [{"step": n, "epoch": n, "validation_nats": 3 / n, "train_nats": 2 / n} for n in (1, 2, 3)]
    (run / "log.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    lines = [
        {"cell": "lstm", "layer": 0, "state": state, "distance": n, "norm": 0.5**n, "singular_value": 1.0}
        for state in ("hidden", "memory")
        for n in range(1, 9)
    ]
    Path("flow.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("page.html").unlink()
    make_page("tiny", "--gradients", "flow.json")
    page = show()
    assert page.locator("#loss .plot path[stroke]").count() == 2
    assert page.locator("#gradients .plot path[stroke]").count() == 2
    assert "lstm layer 0 memory" in page.inner_text("#gradients")


@pytest.mark.slow
def test_the_page_is_dark_where_the_reader_wants_it(run: Path, show: Show) -> None:
    make_page("tiny")
    for scheme, dark in (("light", False), ("dark", True)):
        page = show(color_scheme=scheme)
        paper, ink = (
            sum(parse_colour(page.evaluate(f"getComputedStyle(document.body).{name}"))[:3])
            for name in ("backgroundColor", "color")
        )
        assert (paper < ink) == dark
        assert abs(paper - ink) > 400


@pytest.mark.slow
def test_the_page_fits_a_phone(run: Path, show: Show) -> None:
    make_page("tiny", text=TEXT + "t" * 300)
    page = show(viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    first, panel = (page.locator(name).bounding_box() for name in ("main i >> nth=0", "#details"))
    assert first
    assert panel
    assert first["y"] + 3 * first["height"] < panel["y"], "the beginning of the text is visible at once"
    page.locator("main i").nth(100).click()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    cursor, panel = (page.locator(name).bounding_box() for name in ("i.cursor", "#details"))
    assert cursor
    assert panel
    assert cursor["y"] + cursor["height"] <= panel["y"]


@pytest.mark.slow
def test_a_long_text_has_elements_only_for_the_characters_near_the_screen(run: Path, show: Show) -> None:
    make_page("tiny", text=TEXT * 53)
    page = show()
    characters = len(TEXT) * 53
    assert characters > 100_000
    assert len(page.locator("main").evaluate("main => main.textContent")) == characters
    assert page.locator("main i").count() < 20_000
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_function(
        "[...document.querySelectorAll('main p')].slice(80, 130).some(p => p.children.length)"
    )
    assert page.locator("main i").count() < 20_000
    page.keyboard.press("ArrowRight")
    box = page.locator("i.cursor").bounding_box()
    assert box
    assert 0 <= box["y"] < 720


HOSTILE = "</script><script>hacked()</script><!-- \u2028\x01\x1b[0m {{ 7 }} & \"'`é漢\u202e\t\n\n"


@pytest.mark.slow
@pytest.mark.parametrize("byte_level", [False, True])
def test_every_text_is_shown_as_text(byte_level: bool, show: Show) -> None:
    text = HOSTILE * 30 + ("\udcff\udcc3" if byte_level else "")
    name = "<img src=x onerror=hacked()>"
    save_model(name, "".join(map(chr, range(256))) if byte_level else "".join(set(text)), byte_level)
    make_page(name, text=text)
    page = show()
    shown = page.locator("main").evaluate("main => main.textContent")
    expected = HOSTILE.replace("\x01", "␁").replace("\x1b", "␛").replace("\u2028", "\ufffd")
    assert shown.startswith(expected.replace("\u202e", "\ufffd") * 30)
    assert name in page.inner_text("h1")
    assert page.title().startswith(f"Inside {name}")
    page.locator("main i").nth(HOSTILE.index("é")).hover()
    assert page.inner_text("#details h2 b") == "é"


@pytest.mark.slow
def test_a_page_of_one_character_answers_to_the_keys(run: Path, show: Show) -> None:
    make_page("tiny", text="t")
    page = show()
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "Home", "End", "n", "s", "f", "m"):
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('#unit').value == 1")
    assert "the first character" in page.inner_text("#details")
    assert page.is_hidden("#finds")
