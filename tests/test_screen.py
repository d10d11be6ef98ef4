"""What a user sees: the values of a unit, surprise as colour, and a training in a terminal."""

from __future__ import annotations

import io
import json
import re
import runpy
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from charrnn.cli import curves, inspect_values, shades
from charrnn.cli import train as train_command
from charrnn.cli.shades import FIRST_SHADE, FULL_SHADE, surprising
from charrnn.cli.terminal import Stopped, Terminal
from charrnn.cli.train_command import sample_command
from charrnn.cli.train_progress import budget, stop_on_signals
from charrnn.cli.train_screen import COLUMNS, MARGIN, screen
from charrnn.config import TrainConfig
from charrnn.files import user_folder
from charrnn.runs.history import Report
from tests.conftest import TEXT, charrnn

DOCS = Path(__file__).parent.parent / "docs"
STYLE = re.compile(r"\x1b\[[\d;]*m")


# --- the values of a unit ---


@pytest.mark.slow
def test_colour_never_changes_the_format_of_inspect_cell(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"the cat\nsat\n"
    coloured = charrnn("inspect-cell", "tiny", "-", "--colour", "always", stdin=text).text
    assert STYLE.sub("", coloured).splitlines()[1:] == ["the cat⏎", "sat⏎"]
    plain = charrnn("inspect-cell", "tiny", "-", stdin=text).text
    assert plain.splitlines()[1::2] == ["the cat⏎", "sat⏎"], "every second line is marks"
    assert charrnn("inspect-cell", "tiny", "-", "--colour", "never", stdin=text).text == plain
    for colour in ("never", "auto"):
        lines = charrnn("inspect-cell", "tiny", "-", "--json", "--colour", colour, stdin=text).text
        assert [json.loads(line)["char"] for line in lines.splitlines()] == list(text.decode())
    monkeypatch.setenv("NO_COLOR", "1")
    assert charrnn("inspect-cell", "tiny", "--sample", "9", tty=True).text.startswith("tiny layer 0 unit 0")


def test_the_legend_names_the_unit_and_shows_the_scale(run: Path) -> None:
    title = "tiny layer 1 unit 2 hidden: -1 "
    options = ("inspect-cell", "tiny", "-", "--layer", "1", "--unit", "2", "--of", "hidden")
    plain = charrnn(*options, stdin=b"a").text.splitlines()[0]
    assert plain == f"{title}{shades.MARKS} 1, marks under each line"
    coloured = charrnn(*options, "--colour", "always", stdin=b"a").text.splitlines()[0]
    assert coloured.startswith(title)
    assert len(set(STYLE.findall(coloured))) > 6, "shades differ, whatever the terminal's name promises"


def test_marks_grow_with_the_value_and_values_near_0_have_none() -> None:
    marks = [shades.mark(value / 100) for value in range(-100, 101)]
    assert marks == sorted(marks, key=shades.MARKS.index)
    assert "".join(dict.fromkeys(marks)) == shades.MARKS
    assert (shades.mark(0.1), shades.mark(-0.1)) == (" ", " ")
    assert (shades.mark(-7), shades.mark(7)) == ("▁", "█"), "a linear cell has no bounds"


def valued(text: str) -> list[tuple[str, list[float]]]:
    """The characters of a text, each with values that no other character has."""
    return [(character, [(index % 97) / 97, -1.0, 1.0]) for index, character in enumerate(text)]


def test_each_mark_is_under_its_character_on_lines_that_fit() -> None:
    text = "ab漢字e\u0301x\tyz👍\U0001f3fd❤\ufe0f👩\u200d🚀\n" * 3
    values = [(character, [1.0 if character in "字y🚀\u0301" else 0.0]) for character in text]
    for width in (8, 9, 30):
        result = list(shades.rows(values, width))
        shown = "".join(map(shades.text_line, result))
        joiners = str.maketrans(dict.fromkeys("\U0001f3fd\ufe0f\u200d", "\ufffd"))
        assert re.sub("␉ *", "\t", shown) == text.translate(joiners).replace("\n", "⏎")
        for row in result:
            line, marks = shades.text_line(row), shades.marks_line(row, 0)
            assert cell_len(marks) <= sum(cell.columns for cell in row) == cell_len(line) <= width
            column = 0
            for cell in row:
                marked = marks[column : column + cell.columns].strip()
                assert marked == ("█" * cell.columns if cell.text[-1] in "字y🚀\u0301" else "")
                column += cell.columns


@given(st.text("ab漢\t\u0301\n👍\U0001f3fd", max_size=40), st.integers(8, 30))
def test_no_row_loses_a_character_or_is_too_wide(text: str, width: int) -> None:
    result = list(shades.rows(valued(text), width))
    for row in result:
        assert cell_len(shades.text_line(row)) == sum(cell.columns for cell in row) <= width
    ends = [cell for row in result for cell in row]
    joined = len(re.findall("(?<=[^\n])\u0301", text))
    assert len(ends) == len(text) - joined
    assert ends == [] or ends[-1].values == valued(text)[-1][1]


@given(st.text("ab漢", max_size=5), st.integers(0, 20))
def test_a_tab_ends_where_a_terminals_tab_ends(before: str, more: int) -> None:
    line = before + "c" * more + "\tend"
    (row,) = shades.rows(valued(line), 80)
    width = cell_len(line.partition("\t")[0])
    assert shades.text_line(row).index("end") - len(line.partition("\t")[0]) + width == width // 8 * 8 + 8


def test_every_unit_has_its_lines_with_its_number_in_the_margin(run: Path) -> None:
    text = b"the cat\n" * 2
    plain = charrnn("inspect-cell", "tiny", "-", "--unit", "1,3-4", stdin=text).text.splitlines()
    assert plain[0].startswith("tiny layer 0 units 1,3,4 memory: ")
    assert (plain[1:3], plain[6:8]) == (["", "  the cat⏎"],) * 2
    assert [line[:2] for line in plain[3:6]] == ["1 ", "3 ", "4 "]
    coloured = charrnn("inspect-cell", "tiny", "-", "--unit", "1,3-4", "--colour", "always", stdin=text).text
    lines = STYLE.sub("", coloured).splitlines()
    assert lines[1:5] == ["", "1 the cat⏎", "3 the cat⏎", "4 the cat⏎"]
    for unit, line in ((1, plain[3]), (3, plain[4])):
        alone = charrnn("inspect-cell", "tiny", "-", "--unit", str(unit), stdin=text).text.splitlines()
        assert line == f"{unit} {alone[2]}"


def test_a_heat_map_has_two_units_on_each_line() -> None:
    (row,) = shades.rows(valued("a漢"), 80)
    upper, lower = shades.heat_lines(row)
    assert STYLE.sub("", upper) == STYLE.sub("", lower) == "▀▀▀"
    red, blue = (STYLE.findall(shades.shaded("x", value))[0].partition(";48;")[2] for value in (-1.0, 1.0))
    assert STYLE.findall(upper)[0].endswith(f"48;{red}")
    assert STYLE.findall(lower)[0] == f"\x1b[38;{blue}", "the last of an odd number has no unit below it"


@pytest.mark.slow
def test_many_units_are_a_heat_map(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_values, "PAINTED", 2)
    options = ("inspect-cell", "tiny", "-", "--unit", "all", "--colour", "always")
    lines = STYLE.sub("", charrnn(*options, stdin=b"the cat\n").text).splitlines()
    assert lines[0].endswith("two units on each line")
    assert lines[2:] == ["  the cat⏎", "0 ▀▀▀▀▀▀▀▀", "2 ▀▀▀▀▀▀▀▀", "4 ▀▀▀▀▀▀▀▀"]


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "24 bit"),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, "24 bit"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "tmux-256color"}, "256"),
        ({"TERM": "xterm"}, "256"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
    ],
)
def test_the_colours_are_those_that_the_terminal_has(
    run: Path, variables: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shades._escape.cache_clear()
    text = charrnn("inspect-cell", "tiny", "-", stdin=b"the cat\n", tty=True).text
    shades._escape.cache_clear()
    assert kind == ("24 bit" if ";48;2;" in text else "256" if ";48;5;" in text else "none")
    assert ("\x1b" in text) == (kind != "none")


# --- surprise as colour ---


def test_only_surprising_characters_aresurprising() -> None:
    assert surprising("e", 0.0) == surprising("e", FIRST_SHADE) == "e"
    assert (surprising("\n", 1.0), surprising("\x1b", 1.0)) == ("\n", "␛")
    shaded = [
        surprising("e", bits) for bits in (FIRST_SHADE + 0.1, (FIRST_SHADE + FULL_SHADE) / 2, FULL_SHADE)
    ]
    assert len(set(shaded)) == 3
    assert surprising("e", 99.0) == shaded[-1]
    for styled in shaded:
        assert re.match(r"\x1b\[38;5;\d+;48;5;\d+me\x1b\[0m$", styled), (
            "with a colour of its own for the text"
        )


def test_a_legend_of_surprise_comes_once_and_only_with_colour(run: Path) -> None:
    coloured = charrnn("sample", "tiny", "--colour", "always", "--length", "9", "--count", "3").text
    assert STYLE.sub("", coloured).startswith("bits of surprise: 3 ")
    assert coloured.count("surprise") == 1
    assert "surprise" not in charrnn("sample", "tiny", "--colour", "auto", "--length", "9").text


# --- curves ---


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_plot_fits_the_terminal_and_its_curves_differ_without_colours(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    points = [float(number) for number in range(9)]
    pair = [
        curves.Curve("training", points, points),
        curves.Curve("validation", points, [2000.0 + 100 * point for point in points]),
    ]
    coloured, plain = (curves.draw("losses", pair, 10, colour) for colour in (True, False))
    for plot in (coloured, plain):
        longest = max(len(STYLE.sub("", line)) for line in plot.splitlines())
        assert width - 20 < longest <= width or longest > curves.WIDEST
    assert "\x1b" not in plain
    marks = [re.search(rf"(\S+) {label}", plain).group(1) for label in ("training", "validation")]  # type: ignore[union-attr]
    assert marks[0] != marks[1]
    assert not {"\x1b[30m", "\x1b[37m"} & set(STYLE.findall(curves.draw("losses", pair * 5, 10, True)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_picture_has_a_title_and_its_curves_fill_its_width(count: int) -> None:
    from matplotlib.figure import Figure

    points = [float(number) for number in range(9)]
    many = [curves.Curve(f"a curve with a long label {number}", points, points) for number in range(count)]
    figures: list[Figure] = []

    def plot(figure: Figure) -> None:
        curves.plot_curves(figure, many, "epochs", "nats")
        figures.append(figure)

    out = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())
    curves.save_pictures(out, None, Path("a.svg"), "losses of notes", plot)
    assert ">losses of notes</text>" in Path("a.svg").read_text()
    box = figures[0].axes[0].get_position()
    assert box.width > 0.9
    assert box.height * figures[0].get_figheight() > 0.7 * curves.HEIGHT, "the legend takes no height"


# --- a training ---


def report(**values: Any) -> Report:
    """A report with these values."""
    figures: dict[str, Any] = {
        "step": 100,
        "steps": 4000,
        "epoch": 1.0,
        "characters": 0,
        "seconds": 7.0,
        "lr": 0.0,
    }
    figures |= {
        "gradient_norm": 0.523,
        "clipped": 0.03,
        "train_nats": 2.5,
        "validation_nats": 2.25,
        "validation_bpc": 3.246,
    }
    figures |= {"characters_per_second": 40_000.0, "best": False, "sample": "the cat\n"}
    return Report(**(figures | values))


def shown(*reports: Report, tty: bool = True, quiet: bool = False) -> str:
    """What a training prints on stderr for these reports, between its first fact and its end."""
    err = io.StringIO()
    out = Terminal(io.BytesIO(), io.BytesIO(), err, stderr_tty=tty, quiet=quiet)
    display = screen(out)
    display.facts({"model": "lstm 1 x 8"})
    for item in reports:
        display.report(item)
    display.end("underfitted", ["to sample: charrnn sample notes"])
    return err.getvalue()


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("COLUMNS", "80")
    return 80


def test_the_columns_of_the_reports_keep_their_places(columns: int) -> None:
    text = shown(
        report(),
        report(
            step=3_999_999, epoch=1234.5, train_nats=11.5, validation_nats=10.25, seconds=36_000.0, best=True
        ),
        report(validation_nats=None, validation_bpc=None, characters_per_second=12_345_678.0),
        report(gradient_norm=1234.5, clipped=1.0),
    )
    lines = [line for line in STYLE.sub("", text).splitlines() if not line.startswith(MARGIN.rstrip())]
    rows = [line.removesuffix("  best") for line in lines[2:7]]
    ends = [[match.end() for match in re.finditer(r"\S+", row)] for row in rows]
    assert rows[0].split() == list(COLUMNS)
    assert ends == [ends[0]] * 5
    assert rows[1].split()[-4:] == ["0.52", "3%", "40.0k", "0:07"]
    assert rows[2].split()[-1] == "10:00:00"
    assert rows[3].split()[-2] == "12.3M"
    assert rows[4].split()[-4:-2] == ["1.2e+03", "100%"]
    assert max(map(len, lines)) <= columns


def test_the_best_loss_is_bold_and_nothing_has_a_colour_of_its_own(columns: int) -> None:
    first, second = report(best=True), report(validation_nats=2.75)
    text = shown(first, second)
    assert re.search(r"\x1b\[1m +2\.2500\x1b\[0m", text)
    assert not re.search(r"\x1b\[1m +2\.7500", text)
    trained = shown(report(best=True, validation_nats=None, validation_bpc=None))
    assert re.search(r"\x1b\[1m +2\.5000\x1b\[0m", trained), "without validation, the training loss"
    assert set(STYLE.findall(text)) == {"\x1b[0m", "\x1b[1m", "\x1b[2m"}, "readable on light and on dark"


def test_a_terminal_without_colours_gets_the_same_layout(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured = shown(report(best=True), report())
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            assert shown(report(best=True), report()) == STYLE.sub("", coloured)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_samples_are_wrapped_behind_a_margin_with_pictures_of_controls(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    sample = "\tif x:\x1b[2J\n\n" + "漢字 and words " * 20
    lines = STYLE.sub("", shown(report(sample=sample))).splitlines()
    inside = [line for line in lines if line.startswith(MARGIN.rstrip())]
    assert inside[0] == f"{MARGIN}␉if x:␛[2J"
    assert len(inside) > 3
    assert all(cell_len(line) <= width for line in inside)
    words = " ".join(line.removeprefix(MARGIN.rstrip()) for line in inside[2:]).split()
    assert words == sample.split("\n")[2].split(), "no word is lost or cut"


def test_the_heading_of_the_table_returns_when_it_has_left_the_screen(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", "20")
    assert shown(*[report()] * 3).count("validation") == 1
    assert shown(*[report()] * 30).count("validation") > 3


def test_a_pipe_gets_plain_unwrapped_lines_and_quiet_nothing(columns: int) -> None:
    plain = shown(report(best=True, sample="a b " * 30), tty=False)
    assert plain.splitlines() == [
        "model  lstm 1 x 8",
        "step 100/4000  epoch 1.00  train 2.5000  validation 2.2500 (3.246 bpc) best"
        "  gradient norm 0.52, 3% of the steps clipped  40,000 char/s  7 s",
        f"    | {'a b ' * 29}a b",
        "underfitted",
        "to sample: charrnn sample notes",
    ]
    assert shown(report(), quiet=True) == ""


TINY = (
    "--hidden",
    "4",
    "--embedding",
    "4",
    "--streams",
    "2",
    "--bptt",
    "4",
    "--steps",
    "4",
    "--save-every",
    "2",
)


@pytest.mark.slow
def test_a_training_says_what_it_does_and_ends_with_a_command_that_samples(columns: int) -> None:
    Path("notes.txt").write_text(TEXT)
    done = charrnn("train", "notes.txt", *TINY, tty=True)
    assert done.text == "checkpoints/notes/model.safetensors\n", "stdout has the path alone"
    lines = STYLE.sub("", done.err).splitlines()
    labels = [line.split()[0] for line in lines if re.match(r"[a-z]+ +\S", line)]
    assert [label for label in labels if label in ("text", "model", "budget", "device", "run")] == [
        "text", "model", "budget", "device", "run"
    ]  # fmt: skip
    command = lines[-1].removeprefix("to sample: ")
    assert command == "charrnn sample notes"
    assert charrnn(*shlex.split(command)[1:], "--length", "3").status == 0


@pytest.mark.parametrize("name", ["notes", "my notes"])
def test_the_command_that_samples_finds_the_run_from_any_folder(run: Path, name: str) -> None:
    run = run.rename(run.with_name(name))
    assert shlex.split(sample_command(run)) == ["charrnn", "sample", name]
    other = Path("other runs") / name
    other.parent.mkdir()
    run.rename(other)
    command = shlex.split(sample_command(other))
    assert command == ["charrnn", "sample", str(other)]
    assert charrnn(*command[1:], "--length", "3").status == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"steps": 4000}, "4,000 steps"),
        ({"minutes": 1.0}, "1 minute"),
        ({"minutes": 0.5, "epochs": 10.0}, "0.5 minutes or 10 epochs, whichever comes first"),
        ({"epochs": 1.0, "patience": 3}, "1 epoch or 3 reports without progress, whichever comes first"),
    ],
)
def test_the_budget_is_said_in_words(limits: dict[str, Any], words: str) -> None:
    assert budget(TrainConfig(**limits)) == words


# --- stopping before anything is saved ---


def training(folder: Path, planned: bool) -> Any:
    """A training as the handler of signals sees it."""
    return SimpleNamespace(planned=planned, stop=False, folder=folder, origin={"texts": ["notes.txt"]})


def message_after(running: Any, number: int) -> Stopped:
    """The error after a signal is sent twice."""
    try:
        with stop_on_signals(running, {"corpora": user_folder("corpora")}):
            signal.raise_signal(number)
            signal.raise_signal(number)
    except Stopped as stopped:
        return stopped
    raise AssertionError("the signals stopped nothing")


@pytest.mark.parametrize(
    ("number", "name", "status"), [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)]
)
def test_a_signal_before_the_first_step_ends_the_run_and_says_that_nothing_is_kept(
    number: int, name: str, status: int
) -> None:
    stopped = message_after(training(Path("runs/a"), planned=False), number)
    assert str(stopped) == f"{name}: stopped before the first save, nothing is kept"
    assert stopped.status == status


def test_a_signal_to_a_resumed_run_never_says_that_nothing_is_kept(run: Path) -> None:
    (run / "last.safetensors").touch()
    for planned in (False, True):  # False: a new budget is being timed; True: a second Ctrl-C
        stopped = message_after(training(run, planned), signal.SIGINT)
        command = "charrnn train --resume tiny"
        assert str(stopped) == f"Ctrl-C: stopped without saving; to continue from the last save: {command}"


def test_ctrl_c_while_the_text_is_read_says_that_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "read_corpus", interrupt)
    done = charrnn("train", "notes.txt")
    assert (done.status, done.out) == (130, b"")
    assert done.err.splitlines()[-1] == "Ctrl-C: stopped before the first save, nothing is kept"


# --- the pictures of the documentation ---


def test_a_picture_shows_what_the_terminal_showed_last_and_needs_no_network() -> None:
    pictures = runpy.run_path(str(DOCS / "pictures.py"))
    output = (
        b"text  a\r\n  1% \xe2\x96\x88 \r 62% \xe2\x96\x88\xe2\x96\x88 left\r        \r\x1b[1mbest\x1b[0m\r\n"
    )
    assert pictures["BAR"].search(output).group().decode().strip() == "62% ██ left"
    assert pictures["screen"](output) == "text  a\n\x1b[1mbest\x1b[0m"
    picture = pictures["svg"]("charrnn train a&b", pictures["screen"](output), 40, "training")
    ElementTree.fromstring(picture)
    assert "a&amp;b" in picture
    assert "font-face" not in picture
    assert not re.search(r"(url\(|href=)[\"']?(http|//)", picture)


@pytest.mark.parametrize(
    ("name", "command"), [("inspect-cell", "inspect-cell python code.py --unit "), ("training", "train ")]
)
def test_the_pictures_are_of_commands_and_show_no_path_of_the_machine(name: str, command: str) -> None:
    picture = (DOCS / f"{name}.svg").read_text(encoding="utf-8")
    words = " ".join(ElementTree.fromstring(picture).itertext()).replace("\xa0", " ")
    assert f"charrnn {command}" in words
    assert not re.search(r"/(root|home|tmp|Users|work)\b", words)
    assert not re.search(r"(url\(|href=)[\"']?(http|//)", picture)
