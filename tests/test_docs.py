"""The documentation says what the commands do."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import typer

from charrnn import cells
from charrnn.cli import app

ROOT = Path(__file__).parent.parent


def test_the_commands_page_is_what_the_commands_say() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == generated, (
        "python docs/generate.py writes it anew"
    )


def test_every_command_and_option_the_readme_shows_exists() -> None:
    commands = typer.main.get_command(app).commands
    shown = re.findall(
        r"charrnn ([a-z][\w-]*)((?:(?!\$\()[^\n|;)#])*)", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    seen = set()
    for name, rest in shown:
        if name not in commands:
            continue
        seen.add(name)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        words = shlex.split(rest.replace("`", " ").replace('"', " ").replace("'", " "))
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, (name, rest)
    assert seen == set(commands)


def test_every_option_the_cells_page_shows_exists_and_every_picture_is_there() -> None:
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = typer.main.get_command(app).commands
    shown = re.findall(r"^ *charrnn ([a-z][\w-]*)(.*)$", page, re.MULTILINE)
    assert {name for name, _ in shown} == {"train", "gradient-flow"}
    for name, rest in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= known, (name, rest)
    for picture in re.findall(r"\]\(([\w-]+\.svg)\)", page):
        assert (ROOT / "docs" / picture).exists()


def test_every_cell_is_documented() -> None:
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    for name in cells.names():
        assert page.count(f"| `{name}` |") == 2  # its equations, and what was measured


def test_the_commands_line_lists_the_cells_there_are() -> None:
    options = {p.name: p for p in typer.main.get_command(app).commands["train"].params}
    assert options["cell"].help == f"{', '.join(cells.names())}."
