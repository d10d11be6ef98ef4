"""Every command of the README and of two pages of docs runs, in order, from an empty folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from charrnn.cli.predecessors import FLAGS
from tests.test_catalog import Server, reply

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLERS = ("pip", "pipx", "uvx", "make")
"""Commands that are not run, because they need a network: only the names in them are checked."""
OPTIONAL_TOOLS = ("jq", "less", "torchrun", "zcat")
"""A line with one of these is left out where the tool is missing."""
ENDED_WELL = (0, 128 + signal.SIGPIPE)
"""Exit statuses: success, and that of another program whose reader has gone, as ``head`` does."""
SECONDS = 1200


@dataclass(frozen=True)
class Line:
    """A command line of a page.

    number  of its first line in the page
    output  what the page shows as its output, None where it shows none
    """

    number: int
    command: str
    output: str | None = None


def command_lines(page: str) -> Iterator[Line]:
    """The command lines in the ``sh`` blocks of a page.

    A ``text`` block after an ``sh`` block is the output of the last command; an ellipsis stands for more.
    """
    blocks = re.finditer(r"^```sh\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        first = page.count("\n", 0, block.start(1)) + 1
        lines, start = [], 0
        for match in re.finditer(r"(?:.*\\\n)*.*\n", block[1]):
            command = match[0].rstrip("\n")
            if command and not command.startswith("#"):
                lines.append(Line(first + start, command))
            start += match[0].count("\n")
        yield from lines[:-1]
        yield Line(lines[-1].number, lines[-1].command, block[2])


def words(line: Line) -> list[str]:
    """The words of a command line, without its comment."""
    return shlex.split(line.command, comments=True)


def is_installer(line: Line) -> bool:
    return words(line)[0] in INSTALLERS


def tools_missing(line: Line) -> bool:
    return any(tool in words(line) and not shutil.which(tool) for tool in OPTIONAL_TOOLS)


def interactive(line: Line) -> bool:
    return not {"-i", "--interactive"}.isdisjoint(words(line))


def in_terminal(line: Line) -> str:
    """The command in a terminal of its own, in which Ctrl-D is pressed until it ends."""
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    keys = "while sleep 0.5; do printf '\\004'; done"
    return f"({keys}) | python -c '{spawn}' bash -c {shlex.quote(line.command)}"


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell that has ``charrnn`` and ``python``, and the catalogue's texts nearby."""
    text = b"".join(path.read_bytes() for path in sorted(ROOT.glob("docs/*.md")))
    text = re.sub(rb"[^\n !$&',.3:;?A-Za-z-]", b"", text)  # the symbols of tinyshakespeare
    server = Server()
    entries = tomllib.loads((ROOT / "corpora" / "catalog.toml").read_text(encoding="utf-8"))
    catalogue = ""
    for name, entry in entries.items():
        if "url" in entry:
            server.replies[f"/{name}"] = reply(text)
            entry |= {"url": server.url(f"/{name}"), "sha256": hashlib.sha256(text).hexdigest()}
            entry.pop("size", None)
        catalogue += f"[{name}]\n" + "".join(f"{key} = {json.dumps(entry[key])}\n" for key in entry)
    home = tmp_path / "home"
    programs = home / "bin"
    programs.mkdir(parents=True)
    (home / "catalogue.toml").write_text(catalogue)
    executable(programs / "charrnn", f'exec {sys.executable} {ROOT}/tests/capped.py "$@"')
    executable(programs / "python", f'exec {sys.executable} "$@"')
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "CAPPED_CATALOGUE": str(home / "catalogue.toml"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "no_proxy": "*",
    }
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def failures(page: str, environment: dict[str, str]) -> list[str]:
    """Run the commands of a page in one shell, in an empty folder; what went wrong, one text per command."""
    home = Path(environment["HOME"])
    results, folder = home / "results", home / "folder"
    results.mkdir()
    folder.mkdir()
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")  # the README says where they are
    lines = [line for line in command_lines(page) if not is_installer(line) and not tools_missing(line)]
    script = "set -o pipefail\n"
    for line in lines:
        command = in_terminal(line) if interactive(line) else line.command
        result = results / str(line.number)
        script += f"{{\n{command}\n}} >{result}.out 2>{result}.err\necho $? >{result}.status\n"
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        shell.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    return [failure for line in lines for failure in failure_of(line, results)]


def failure_of(line: Line, results: Path) -> Iterator[str]:
    """What went wrong with a command, if anything did."""
    status = results / f"{line.number}.status"
    if not status.exists():
        yield f"line {line.number}: {line.command}\nthe shell ended in this line or before it"
        return
    output = (results / f"{line.number}.out").read_text(errors="replace")
    errors = (results / f"{line.number}.err").read_text(errors="replace")
    if int(status.read_text()) not in ENDED_WELL or re.search(
        r"^(charrnn: |Traceback)", errors, re.MULTILINE
    ):
        yield f"line {line.number}: {line.command}\nstatus {status.read_text()}{output}{errors}"
    elif line.output is not None:
        expected = re.escape(line.output.rstrip()).replace("…", ".*")
        if not re.fullmatch(expected, output.rstrip(), re.DOTALL):
            yield f"line {line.number}: {line.command}\nshown:\n{line.output}\nprinted:\n{output}"


@pytest.mark.slow
def test_every_command_of_the_readme_runs_as_it_stands_and_prints_what_the_readme_shows(
    environment: dict[str, str],
) -> None:
    assert not (failed := failures(README, environment)), "\n\n".join(failed)


@pytest.mark.slow
def test_the_commands_and_the_code_of_the_inspection_page_run_on_shorter_texts(
    environment: dict[str, str],
) -> None:
    page = (ROOT / "docs" / "inspection.md").read_text(encoding="utf-8")
    page = page.replace("tail -c 111540", "tail -c 6000").replace("head -c 50000", "head -c 1500")
    page = page.replace('glob("*.py")', 'glob("[a-c]*.py")')
    assert not (failed := failures(page, environment)), "\n\n".join(failed)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    folder = Path(environment["HOME"], "folder")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(-?[01]\.\d\d  .*\n){5}", done.stdout), done.stdout


@pytest.mark.slow
def test_the_commands_and_the_code_of_the_page_of_documents_run_on_small_sets(
    environment: dict[str, str],
) -> None:
    page = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
    small = f"python {ROOT}/tests/small_documents.py data"
    page = page.replace("python benchmarks/document_texts.py data names languages tunes", small)
    assert not (failed := failures(page, environment)), "\n\n".join(failed)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    folder = Path(environment["HOME"], "folder")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "'finnish': 0." in done.stdout


@pytest.mark.slow
def test_a_command_that_fails_in_any_way_is_reported(environment: dict[str, str]) -> None:
    page = """
```sh
charrnn info nosuch
charrnn info nosuch | head -n 1
echo "$(charrnn info nosuch)"
echo a \\
  b   # two lines
echo one
```

```text
two
```
"""
    failed = failures(page, environment)
    assert [text.splitlines()[0] for text in failed] == [
        "line 3: charrnn info nosuch",
        "line 4: charrnn info nosuch | head -n 1",
        'line 5: echo "$(charrnn info nosuch)"',
        "line 8: echo one",
    ]


def test_the_readmes_commands_that_install_name_what_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installers = [line for line in command_lines(README) if is_installer(line)]
    assert {"pip", "pipx", "uvx", "make"} <= {words(line)[0] for line in installers}
    for line in installers:
        tool, *arguments = words(line)
        for word in arguments:
            if match := re.fullmatch(r"\.\[([\w,]+)\]", word):
                assert set(match[1].split(",")) <= set(project["optional-dependencies"]), line
            if "==" in word:
                assert word in (ROOT / "constraints.txt").read_text().split(), line
            if tool == "make":
                assert re.search(rf"^{word}:", makefile, re.MULTILINE), line
        for file in re.findall(r"[\w-]+\.txt", line.command):
            assert (ROOT / file).is_file(), line


def test_the_readmes_links_and_pictures_exist() -> None:
    targets = set(re.findall(r"\]\(([^)\s#]+)[^)]*\)", README))
    assert targets
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of the README, without its second line; ` is removed."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip("` ") for cell in row.split("|")] for row in rows[:1] + rows[2:]]


def test_the_readmes_table_of_flags_says_what_the_error_messages_say() -> None:
    (*programs, ours), *rows = table("Coming from char-rnn, torch-rnn or textgenrnn")
    assert ours == "charrnn"
    assert len(rows) > 8
    for *flags, option in rows:
        for program, flag in zip(programs, flags, strict=True):
            name = flag.removeprefix("-")
            answers = {known.ours for known in FLAGS if known.name == name and program in known.programs}
            assert answers == ({option} if flag else set()), flag
