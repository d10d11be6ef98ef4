"""Write docs/commands.md from the commands themselves: python docs/generate.py

A test holds the file to what this gives.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from charrnn.cli import app

PAGE = Path(__file__).parent / "commands.md"


def page() -> str:
    """The whole page."""
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
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(name, command)]
    return [found for key, each in inner.items() for found in _commands(f"{name} {key}", each)]


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
        names = ", ".join(f"`{each}`" for each in option.opts)
        shown = "" if option.default is None or option.default is False else f"`{option.default}`"
        rows.append((names, shown, option.help or ""))
    if rows:
        parts += ["| | default | |", "|---|---|---|"]
        parts += [
            f"| {names.replace('|', chr(92) + '|')} | {shown} | {text} |" for names, shown, text in rows
        ]
        parts.append("")
    return parts


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
