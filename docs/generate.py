"""Write the generated docs; run ``python docs/generate.py``.

docs/commands.md comes from the commands' help, the tables of tensors in docs/checkpoint-format.md
from the cells. tests/test_docs.py compares both pages with these functions.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from charrnn import cells
from charrnn.cli import app
from charrnn.config import ModelConfig
from charrnn.runs import parameters

COMMANDS = Path(__file__).parent / "commands.md"
FORMAT = Path(__file__).parent / "checkpoint-format.md"
TABLES_BEGIN, TABLES_END = "<!-- begin: tables of tensors -->\n", "<!-- end: tables of tensors -->\n"

H, D, E, V = 1_000_000, 10_000, 100, 1
"""Sizes whose sums are read back as letters: 3_010_000 is 3 H + D."""


def commands_page() -> str:
    """All of docs/commands.md."""
    root = typer.main.get_command(app)
    parts = [
        "# The commands\n",
        "Written by `docs/generate.py` from the commands' own help.\n",
        f"{root.epilog}\n",
        "CHECKPOINT is a checkpoint's file, a run's folder or its name; left out, it is the newest run.\n",
    ]
    for name, command in _commands("charrnn", root):
        parts += _section(name, command)
    return "\n".join(parts)


def _commands(name: str, command: Any) -> list[tuple[str, Any]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        return [(name, command)]
    return [pair for key, inner in subcommands.items() for pair in _commands(f"{name} {key}", inner)]


def _section(name: str, command: Any) -> list[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(
        (f"[{p.metavar or p.name.upper()}]" if not p.required else p.name.upper())
        + ("..." if p.nargs == -1 else "")
        for p in arguments
    )
    about, _, examples = inspect.cleandoc(command.help).partition("Examples:")
    parts = [f"## {name}\n", f"`{' '.join(f'{name} {usage}'.split())} [OPTIONS]`\n", about.strip() + "\n"]
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    if lines:
        parts += ["```sh", *lines, "```\n"]
    rows = [(f"`{p.metavar or p.name.upper()}`", "", p.help or "") for p in arguments]
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.opts)
        default = "" if option.default is None or option.default is False else f"`{option.default}`"
        rows.append((names, default, option.help or ""))
    if rows:
        parts += ["| | default | |", "|---|---|---|"]
        parts += [
            f"| {names.replace('|', chr(92) + '|')} | {default} | {text} |" for names, default, text in rows
        ]
        parts.append("")
    return parts


def format_page(page: str) -> str:
    """docs/checkpoint-format.md with the tables of tensors written anew between their two markers."""
    before, _, rest = page.partition(TABLES_BEGIN)
    _, _, after = rest.partition(TABLES_END)
    return f"{before}{TABLES_BEGIN}\n{tensor_tables()}\n{TABLES_END}{after}"


def tensor_tables() -> str:
    """Two tables of names and shapes: the tensors outside the layers, and each cell's tensors of a layer."""
    network = parameters.shapes(ModelConfig(layers=1, hidden=H, embedding=E), V)
    one_hot = parameters.shapes(ModelConfig(layers=1, hidden=H, embedding=0), V)
    lines = ["| tensor | shape | |", "|---|---|---|"]
    for name, shape in network.items():
        if not name.startswith("layers."):
            condition = "" if name in one_hot else "not with one-hot input"
            lines.append(f"| `{name}` | {_letters(shape)} | {condition} |")
    lines += ["", "| cell | gates, in order | tensors of layer K, after `layers.K.` |", "|---|---|---|"]
    for name in cells.names():
        cell = cells.get(name)
        as_wide = cell.shapes(H, H)
        tensors = [
            f"`{tensor}` {_letters(shape)}" + ("" if tensor in as_wide else " where D ≠ H")
            for tensor, shape in cell.shapes(D, H).items()
        ]
        lines.append(f"| `{name}` | {', '.join(cell.gates)} | {', '.join(tensors)} |")
    return "\n".join(lines) + "\n"


def _letters(shape: tuple[int, ...]) -> str:
    """(3_000_000, 10_000) -> "(3 H, D)"."""
    sizes = []
    for size in shape:
        terms = []
        for letter, unit in (("H", H), ("D", D), ("E", E), ("V", V)):
            count, size = divmod(size, unit)
            terms += [letter if count == 1 else f"{count} {letter}"] if count else []
        sizes.append(" + ".join(terms))
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


if __name__ == "__main__":
    COMMANDS.write_text(commands_page(), encoding="utf-8")
    FORMAT.write_text(format_page(FORMAT.read_text(encoding="utf-8")), encoding="utf-8")
