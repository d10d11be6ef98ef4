"""Help fits a screen, shows every option plainly, and is the source of the manual page."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from charrnn.cli import app
from tests.conftest import charrnn

ROOT = Path(__file__).parent.parent


def _all_commands(name: str, command: Any) -> dict[str, Any]:
    result = {name: command}
    for key, inner in getattr(command, "commands", {}).items():
        result |= _all_commands(f"{name} {key}".strip(), inner)
    return result


ALL: dict[str, Any] = _all_commands("", typer.main.get_group(app))
COMMANDS = {
    name: command for name, command in ALL.items() if getattr(command, "invoke_without_command", True)
}
ESCAPES = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function: what a command line prints in a terminal of so many columns."""

    def printed(*words: str, columns: int = 80, tty: bool = False) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert charrnn(*words, tty=tty).status == 0
        result = capsys.readouterr()
        assert not result.err
        return result.out

    return printed


@pytest.mark.parametrize("command", ALL)
def test_the_short_help_fits_a_screen(command: str, show: Any) -> None:
    lines = show(*command.split(), "-h").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"Usage: charrnn {command}".rstrip())


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("command", ALL)
def test_the_help_is_as_wide_as_the_terminal(command: str, columns: int, show: Any) -> None:
    text = show(*command.split(), "--help", columns=columns).partition("Options:")[2]
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize("command", COMMANDS)
def test_the_full_help_shows_every_option_and_the_common_ones_first(command: str, show: Any) -> None:
    full, short = (show(*command.split(), option) for option in ("--help", "-h"))
    names = re.findall(r"^  (?:-\w, |    )(--[\w-]+)", full, re.MULTILINE)
    common = re.findall(r"^  (?:-\w, |    )(--[\w-]+)", short, re.MULTILINE)
    assert names[: len(common)] == common
    parameters = [p for p in COMMANDS[command].params if p.param_type_name == "option" and not p.hidden]
    assert sorted(names) == sorted([*(option.opts[0] for option in parameters), "--help"])


def test_the_short_help_names_the_command_that_shows_everything(show: Any) -> None:
    for words in (["train"], ["sample"], []):
        assert show(*words, "-h").endswith(f"\nAll options: {' '.join(['charrnn', *words])} --help\n")
        assert "All options:" not in show(*words, "--help")
    assert "All options:" not in show("corpus", "-h")  # shows everything itself


@pytest.mark.parametrize("command", ALL)
def test_values_are_shown_by_what_may_be_typed(command: str, show: Any) -> None:
    text = show(*command.split(), "--help")
    assert not re.search(
        r"INTEGER|FLOAT|TEXT\b.*range|PATH\b(?!\|)|<\w+>|\[default|--no-(?!echo|repeat|residual)", text
    )
    assert "False" not in text
    assert text.count("Default: ") == len(re.findall(r"Default: \S", text))


def test_the_form_of_each_kind_of_option(show: Any) -> None:
    text = show("sample", "--help")
    for line in (
        r"  -n, --length N  +Maximum number of characters, without",
        r"      --json  +Write a JSON line for each sample\.",
        r"  -o, --output FILE\|-  +Write to this new file",
        r"      --colour auto\|always\|never\n",
        r"      --top-k N  +Choose among the N most probable characters\.\n +Default: 0 \(off\)\.",
    ):
        assert re.search(rf"^{line}", text, re.MULTILINE), line


def test_without_arguments_the_short_help_is_printed(show: Any) -> None:
    assert show() == show("-h")
    assert show("corpus") == show("corpus", "-h")


def test_help_is_coloured_only_in_a_terminal(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, coloured = show("train", "--help"), show("train", "--help", tty=True)
    assert not ESCAPES.search(plain)
    assert ESCAPES.sub("", coloured) == plain != coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert show("train", "--help", tty=True) == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert show("train", "--help") == coloured


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "torch", "safetensors", "tqdm", "rich", "urllib.request"}
    code = f"import sys; from charrnn.cli import main; main(); sys.exit(str({heavy} & set(sys.modules)))"
    for words in (["--help"], ["train", "-h"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.stderr == "set()\n"


def test_short_options_mean_the_same_in_every_command() -> None:
    meanings: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            for name in option.opts:
                if re.fullmatch(r"-\w", name):
                    meanings.setdefault(name, set()).add(option.opts[0])
    assert all(len(names) == 1 for names in meanings.values()), meanings
    with_seed = [c.name for c in COMMANDS.values() if any("--seed" in p.opts for p in c.params)]
    short = [c.name for c in COMMANDS.values() if any("-s" in p.opts for p in c.params)]
    assert with_seed == short


# --- the manual page ---


def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


def test_the_manual_page_is_what_the_commands_say() -> None:
    page = (ROOT / "docs" / "charrnn.1").read_text(encoding="utf-8")
    assert page == generator()["man_page"](), "run: python docs/generate.py"


def test_the_manual_page_describes_every_command_option_and_exit_status() -> None:
    page = generator()["man_page"]().replace("\\-", "-")
    sections = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert sections == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS"),
        *("EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"),
    ]
    for name, command in COMMANDS.items():
        assert f".SS charrnn {name} " in page
        part = page.partition(f".SS charrnn {name} ")[2].partition("\n.S")[0]
        shown = [option for option in command.params if not option.hidden]
        options = {name for option in shown for name in option.opts if name.startswith("-")}
        assert options <= set(re.findall(r"--?[\w-]+", part))
    for status in ("0 success", "1 failure", "2 a wrong command line", "130 Ctrl-C"):
        assert status in page


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff here")
def test_the_manual_page_is_formatted_without_a_warning() -> None:
    page = generator()["man_page"]().encode()
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u"]
    done = subprocess.run(command, input=page, capture_output=True, check=True)
    assert not done.stderr
    text = done.stdout.decode()
    assert "--match '[A-Z]+:'" in text
    assert "The escapes \\n, \\t" in " ".join(text.split())
    assert "--temperature N|A:B" in text
