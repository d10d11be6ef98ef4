"""Writes the pictures inspect-cell.svg, score.svg, training.svg and page.png of docs/ from real commands.

python docs/pictures.py downloads a text, tinyshakespeare, and trains on it for three minutes. Arguments, if
any, are those of another training: python docs/pictures.py notes.txt --minutes 1
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from xml.sax.saxutils import escape

import tqdm
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parent
MODEL, CONCEPTS = "python", ("quotes", "brackets", "since-newline")
CODE = """\
def measure(texts, limit=100):
    # Count the words of every text, longest first.
    sizes = [len(text.split()) for text in sorted(texts)]
    if max(sizes, default=0) > limit:  # too long to print
        raise ValueError("too many words: split this text")
    return {name: sum(sizes[:2]) for name in ("one", "two")}
"""
PASSAGE = """\
My lord, the king is at the gate, and brings
Ten thousand men of France to take the crown.
He also brings a laptop and a charger,
And asks thy grace to tell him the wifi password.
"""
TRAINING = ("tinyshakespeare", "--minutes", "3")
LINES = 40
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BAR = re.compile(rb"\r *[6-9]\d% [^\r]*")
"""The progress bar at 60 % or more: the training is shown at this moment."""


def units_of_concepts() -> str:
    """The units of MODEL's lowest layer whose cell state follows CONCEPTS most closely, as --unit takes them.

    They are found on the source of tqdm, as in docs/inspection.md: MODEL has not learned it.
    """
    options = [word for concept in CONCEPTS for word in ("--concept", concept)]
    files = sorted(Path(tqdm.__file__).parent.glob("*.py"))
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    command = ["inspect-cell", MODEL, "-", "--unknown", "nearest", "--find", *options, "--json"]
    environment = os.environ | {"PYTHONPATH": str(DOCS.parent)}
    arguments = [sys.executable, "-m", "charrnn", *command]
    found = subprocess.check_output(arguments, env=environment, input=code.encode())
    units: dict[str, int] = {}
    for row in map(json.loads, found.splitlines()):
        if (row["layer"], row["signal"]) == (0, "memory"):
            units.setdefault(row["concept"], row["unit"])
    return ",".join(str(units[concept]) for concept in CONCEPTS)


def recorded(arguments: list[str], columns: int, folder: str) -> bytes:
    """What a terminal with these columns gets from ``charrnn`` with these arguments, run in ``folder``.

    A command that fails ends the script with the message.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (LINES, columns))
    variables = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(DOCS.parent)}
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    command = [sys.executable, "-m", "charrnn", *arguments]
    output = b""
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(command, cwd=folder, env=environment, **streams) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 65536):
                output += data
        except OSError:  # the end of a pseudo-terminal
            pass
    os.close(ours)
    if process.returncode:
        sys.exit(output.decode(errors="replace"))
    return output


def screen(output: bytes) -> str:
    """The lines that a terminal shows: of each line, what stands after its last carriage return."""
    lines = output.decode().split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines).rstrip()


def svg(command: str, lines: str, columns: int, name: str) -> str:
    """A terminal with a command and the coloured lines that it wrote; all fonts are the reader's own."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
    for line in lines.splitlines():
        console.print(Text.from_ansi(line), soft_wrap=True)
    template = re.sub(r"@font-face {{.*?}}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = template.replace("Fira Code, monospace", FONTS)
    title = escape(" ".join(command.split()[:2]))
    return console.export_svg(title=title, code_format=template, unique_id=name)


def page_picture(folder: str) -> None:
    """Write docs/page.png: the page of a sample of ``shakespeare``, with the cursor in its sixth line."""
    from playwright.sync_api import sync_playwright

    command = ["inspect-cell", "shakespeare", "--sample", "2000", "--seed", "1", "--html", "page.html"]
    recorded(command, 80, folder)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        sync_playwright() as browsers,
        browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(Path(folder, "page.html").as_uri())
        page.locator("#text").focus()
        for key in ["ArrowDown"] * 5 + ["ArrowRight"] * 34:
            page.keyboard.press(key)
        page.screenshot(path=str(DOCS / "page.png"))


def main() -> None:
    pictures = {
        "inspect-cell": (72, ["inspect-cell", MODEL, "code.py", "--unit", units_of_concepts()]),
        "score": (72, ["score", "shakespeare", "passage.txt", "--colour", "always"]),
        "training": (80, ["train", *(sys.argv[1:] or TRAINING)]),
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "code.py").write_text(CODE, encoding="utf-8")
        Path(folder, "passage.txt").write_text(PASSAGE, encoding="utf-8")
        Path(folder, "checkpoints").mkdir()  # the picture shows this name, and not that of the folder
        for name, (columns, arguments) in pictures.items():
            output = recorded(arguments, columns, folder)
            if name == "training" and (bar := BAR.search(output)):
                output = output[: bar.end()]
            picture = svg(shlex.join(["charrnn", *arguments]), screen(output), columns, name)
            (DOCS / f"{name}.svg").write_text(picture, encoding="utf-8")
        page_picture(folder)


if __name__ == "__main__":
    main()
