"""Completion offers the names that can stand at the cursor, in real shells too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charrnn import cells
from charrnn.cli import main
from charrnn.runs import LAST
from charrnn.runs.find import pretrained
from charrnn.text import catalog
from tests.test_attention import saved

SHELLS = [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"there is no {name} here"))
    for name in ("bash", "zsh", "fish")
]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function: the words that bash offers for the last of the given words."""

    def offered(*words: str) -> list[str]:
        monkeypatch.setenv("_CHARRNN_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["charrnn", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert main() == 0
        result = capsys.readouterr()
        assert not result.err
        return result.out.split()

    return offered


# --- what is offered ---


def test_runs_and_pretrained_models_are_offered_as_checkpoints(run: Path, complete: Any) -> None:
    names = ["tiny", *pretrained()]
    assert complete("sample", "") == names
    assert complete("sample", "tiny", "") == names  # of a mixture
    assert complete("info", "ti") == ["tiny"]
    assert complete("runs", "diff", "other", "") == names
    assert complete("runs", "rm", "") == ["tiny"]
    assert complete("inspect-cell", "") == names
    assert complete("train", "--from", "") == names
    assert complete("gradient-flow", "tiny", "x.txt", "--beside", "other,") == [f"other,{n}" for n in names]


def test_only_runs_that_can_be_resumed_are_offered_for_resuming(run: Path, complete: Any) -> None:
    assert complete("train", "--resume", "") == []
    (run / LAST).touch()
    assert complete("train", "--resume", "") == ["tiny"]


def test_only_runs_are_offered_to_be_removed_or_renamed(run: Path, complete: Any) -> None:
    (run.parent / "unfinished").mkdir()
    (run.parent / "unfinished" / LAST).touch()
    assert complete("runs", "rm", "") == ["tiny", "unfinished"]
    assert complete("runs", "rm", "tiny", "u") == ["unfinished"]
    assert complete("runs", "mv", "t") == ["tiny"]
    assert complete("runs", "diff", "tiny", "") == ["tiny", *pretrained()]


def test_runs_come_from_the_folder_that_is_given(
    run: Path, complete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.parent.rename("elsewhere")
    assert complete("info", "t") == []
    assert complete("info", "--checkpoints", "elsewhere", "t") == ["tiny"]
    monkeypatch.setenv("CHARRNN_CHECKPOINTS", "elsewhere")
    assert complete("info", "t") == ["tiny"]


def test_cells_are_offered_alone_and_in_lists(complete: Any) -> None:
    assert complete("train", "--cell", "") == list(cells.names())
    assert complete("gradient-flow", "--cells", "rnn,mut") == ["rnn,mut1", "rnn,mut2", "rnn,mut3"]
    assert complete("gradient-flow", "--cells", "mut1,mut") == ["mut1,mut2", "mut1,mut3"]


def test_texts_are_offered_by_their_name_in_the_catalogue_beside_files(complete: Any) -> None:
    Path("python-notes.txt").touch()
    Path("two words.txt").touch()
    assert complete("train", "python-") == ["python-stdlib", "python-notes.txt"]
    assert complete("train", "") == [*catalog.entries(), "python-notes.txt"]
    assert complete("train", "python-n") == []  # the shell completes files
    assert complete("corpus", "get", "") == list(catalog.entries())


def test_the_signals_of_the_checkpoints_cell_are_offered(run: Path, complete: Any) -> None:
    assert complete("inspect-cell", "tiny", "--of", "") == sorted([*cells.get("lstm").signals, "cell"])
    assert "update" in complete("inspect-cell", "missing", "--of", "")
    saved(run.parent / "attending")
    assert complete("inspect-cell", "attending", "--of", "a") == ["attention"]
    assert complete("inspect-cell", "tiny", "--of", "a") == []


def test_values_and_devices_are_offered(complete: Any) -> None:
    assert complete("sample", "--colour", "") == ["auto", "always", "never"]
    assert complete("sample", "--unknown", "s") == ["skip"]
    assert complete("train", "--device", "c") == ["cpu", "cuda"]
    assert complete("train", "--newlines", "") == ["lf", "keep"]


def test_a_line_that_cannot_be_parsed_gives_no_message(run: Path, complete: Any) -> None:
    assert complete("sample", "--length", "many", "ti") == ["tiny"]
    assert complete("sample", "--lenght", "4", "ti") == ["tiny"]
    (run / "model.safetensors").write_bytes(b"no checkpoint")
    assert "hidden" in complete("inspect-cell", "tiny", "--of", "")


@pytest.mark.slow
def test_completion_imports_no_array_library(run: Path) -> None:
    code = (
        "import sys; from charrnn.cli import main; main();"
        " sys.exit(str({'numpy', 'torch', 'safetensors'} & set(sys.modules)))"
    )
    for words in ("charrnn sample t", "charrnn train t", "charrnn train --cell g"):
        settings = {"_CHARRNN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "9"}
        settings["COMP_CWORD"] = str(len(words.split()) - 1)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "set()\n"
        assert done.stdout.strip()


# --- real shells ---

PROGRAM = """#!/bin/sh
case "$_CHARRNN_COMPLETE$1" in
  *_*|--*-completion) exec {python} -m charrnn "$@";;
  *) printf '%s\\n' "$@" > arguments.new; mv arguments.new arguments;;
esac
"""
"""The program that the shells complete. It writes down its arguments and does nothing else."""

STARTS = {
    "bash": ["bash", "--rcfile", "start", "-i"],
    "zsh": ["zsh", "--no-globalrcs", "-i"],
    "fish": ["fish", "--no-config", "--init-command", "source start"],
}
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u\n", "fish": ""}


@pytest.fixture
def program(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``charrnn`` on the PATH, and a home."""
    path = tmp_path / "bin" / "charrnn"
    path.parent.mkdir()
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZDOTDIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_in_a_real_shell(shell: str, program: None) -> None:
    source = subprocess.check_output(["charrnn"], env=os.environ | {"_CHARRNN_COMPLETE": f"source_{shell}"})
    Path("start").write_bytes(BEFORE[shell].encode() + source)
    Path(".zshrc").write_bytes(Path("start").read_bytes())
    command = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *STARTS[shell]]
    keys = b"charrnn inspect-c\ttin\t --of forg\t --colour alw\t\rexit\r"
    done = subprocess.run(command, input=keys, capture_output=True, check=False)
    assert Path("arguments").exists(), done.stdout.decode()
    arguments = Path("arguments").read_text().split()
    assert arguments == ["inspect-cell", "tiny", "--of", "forget", "--colour", "always"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", ["train", "sample"])
def test_every_option_of_a_command_is_offered_with_its_help(shell: str, command: str, program: None) -> None:
    words = f"charrnn {command} --"
    settings = {
        "_CHARRNN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    # zsh evaluates the answer
    line = "_arguments() { print -r -- $@ }; eval $(charrnn)" if shell == "zsh" else "charrnn"
    done = subprocess.run(
        [shell, "-c", line], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert "--help" in done.stdout
    if shell != "bash":
        assert "Print the help" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_installed_for_the_shell_that_asks(shell: str, program: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [shell, "-c", "charrnn --install-completion; true"], capture_output=True, check=True
    )
    assert not done.stderr
    files = {
        "bash": ".bash_completions/charrnn.sh",
        "zsh": ".zfunc/_charrnn",
        "fish": ".config/fish/completions/charrnn.fish",
    }
    script = (tmp_path / files[shell]).read_text()
    assert "_CHARRNN_COMPLETE" in script
    assert (
        subprocess.check_output([shell, "-c", "charrnn --show-completion; true"], text=True).strip()
        == script.strip()
    )
