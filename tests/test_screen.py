"""What a user sees: the values of a unit, surprise as colour, and a training in a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from charrnn.cli import shades
from charrnn.cli.sample_output import FIRST_SHADE, FULL_SHADE, _shaded
from tests.conftest import charrnn

STYLE = re.compile(r"\x1b\[[\d;]*m")


# --- the values of a unit ---


def test_colour_never_changes_the_format_of_inspect_cell(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"the cat\nsat\n"
    coloured = charrnn("inspect-cell", "tiny", "-", "--colour", "always", stdin=text).text
    assert STYLE.sub("", coloured).splitlines()[1:] == ["the cat⏎", "sat⏎"]
    plain = charrnn("inspect-cell", "tiny", "-", stdin=text).text
    assert plain.splitlines()[1::2] == ["the cat⏎", "sat⏎"], "every second line is marks"
    assert charrnn("inspect-cell", "tiny", "-", "--colour", "never", stdin=text).text == plain
    for colour in ("always", "never", "auto"):
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


def test_each_mark_is_under_its_character_on_lines_that_fit() -> None:
    text = "ab漢字é\u0301x\tyz\n" * 3
    values = [(character, 1.0 if character in "字y" else 0.0) for character in text]
    lines = "".join(shades.marked(values, 5)).splitlines()
    assert "".join(lines[::2]) == text.replace("\n", "⏎").replace("\t", "␉")
    for line, marks in zip(lines[::2], lines[1::2], strict=True):
        assert max(cell_len(line), cell_len(marks)) <= 5
        for index, character in enumerate(line):
            before, width = cell_len(line[:index]), cell_len(character)
            assert marks[before : before + width].strip() == ("█" * width if character in "字y" else "")


# --- surprise as colour ---


def test_only_surprising_characters_are_shaded() -> None:
    assert _shaded("e", 0.0) == _shaded("e", FIRST_SHADE) == "e"
    assert (_shaded("\n", 1.0), _shaded("\x1b", 1.0)) == ("\n", "␛")
    shaded = [_shaded("e", bits) for bits in (FIRST_SHADE + 0.1, (FIRST_SHADE + FULL_SHADE) / 2, FULL_SHADE)]
    assert len(set(shaded)) == 3
    assert _shaded("e", 99.0) == shaded[-1]
    for styled in shaded:
        assert re.match(r"\x1b\[38;5;\d+;48;5;\d+me\x1b\[0m$", styled), (
            "with a colour of its own for the text"
        )


def test_a_legend_of_surprise_comes_once_and_only_with_colour(run: Path) -> None:
    coloured = charrnn("sample", "tiny", "--colour", "always", "--length", "9", "--count", "3").text
    assert STYLE.sub("", coloured).startswith("bits of surprise: 3 ")
    assert coloured.count("surprise") == 1
    assert "surprise" not in charrnn("sample", "tiny", "--colour", "auto", "--length", "9").text
