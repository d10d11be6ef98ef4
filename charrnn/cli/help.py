"""The help of every command: ``-h`` prints the common options, ``--help`` prints all.

An option in the panel "Options" is a common one; every other panel is left out of the short help.
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from typer._click.core import Command as _Base
else:
    _Base = object

COMMON, FOLDERS = "Options", "Folders"
NARROWEST, WIDEST = 50, 110
"""Columns of the help; between them, those of the terminal. A pipe gets 80."""
LONGEST_NAME = 25
"""Columns of the names of options; the description of a longer name begins on the next line."""

PATH_KINDS = {
    "DIR": "a folder",
    "FILE": "a file",
    "FILE.npy": "a file",
    "FILE|-": "a file",
    "PATH|-": "a file",
    "TEXT|-": "a text",
    "TEXT": "a text",
    "RUN": "a run",
    "CHECKPOINT": "a checkpoint",
}
"""What the value of an option or argument names, by the option's name for it."""
MAY_BE_EMPTY = ("--prompt", "--delimiter", "CHECKPOINT")
"""Options whose TEXT is a text itself, which may be empty; and an argument that ``runs.find`` checks."""

Row = tuple[str, str]
"""A name, with the value it takes, and its description."""


class About(NamedTuple):
    """The parts of a command's docstring: its first sentence, its other paragraphs, its command lines."""

    summary: str
    details: str
    examples: list[str]


def about(command: Any) -> About:
    """The parts of a command's docstring."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("Examples:")
    summary, _, details = text.strip().partition("\n\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return About(" ".join(summary.split()), details, lines)


def value_name(parameter: Any) -> str:
    """What stands for the value of an option: its metavar, its choices, N for a number, "" for a flag."""
    kind = parameter.type_descriptor
    if getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar is not None:
        return str(parameter.metavar)
    if kind.is_choice:
        return "|".join(str(choice.value) for choice in kind.choices)
    return "N" if kind.annotation in (int, float) else str(parameter.name).upper()


def labels(parameter: Any) -> list[str]:
    """An argument's name, or an option's names, the short one first, the last one with its value."""
    if parameter.param_type_name == "argument":
        return [str(parameter.display_name_raw)]
    names = sorted(parameter.opts, key=lambda name: name.startswith("--"))
    return [*names[:-1], f"{names[-1]} {value_name(parameter)}".rstrip()]


def default_text(parameter: Any) -> str:
    """The default of an argument or option, as it is shown; "" where there is nothing to show."""
    shown, value = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return shown
    if not shown or value is None or value is False or getattr(parameter, "is_flag", False):
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.value if isinstance(value, Enum) else value)


def description(parameter: Any, short: bool = False) -> str:
    """The help of an argument or option and its default; only the first sentence if ``short``."""
    text = str(parameter.help or "")
    if short:
        text = first_sentence(text)
    default = default_text(parameter)
    return f"{text} Default: {default}." if default else text


def first_sentence(text: str) -> str:
    """The text up to its first full stop that ends a sentence."""
    return re.split(r"\. (?=[A-Z])", text)[0].rstrip(".") + "."


def panels(parameters: Iterable[Any]) -> dict[str, list[Any]]:
    """The visible parameters by the title of their panel, the common options before all other options."""
    result: dict[str, list[Any]] = {"Arguments": [], COMMON: []}
    for parameter in parameters:
        if not parameter.hidden:
            usual = "Arguments" if parameter.param_type_name == "argument" else COMMON
            result.setdefault(parameter.rich_help_panel or usual, []).append(parameter)
    result[FOLDERS] = result.pop(FOLDERS, [])
    return {title: members for title, members in result.items() if members}


def _tables(command: Any, context: Any, short: bool) -> dict[str, list[Row]]:
    """The tables of a command's help by title."""
    tables: dict[str, list[Row]] = {}
    if isinstance(command, TyperGroup):
        tables["Commands"] = [
            (name, first_sentence(about(inner).summary)) for name, inner in command.commands.items()
        ]
    for title, members in panels(command.get_params(context)).items():
        if short and title not in ("Arguments", COMMON):
            continue
        tables[title] = [(_aligned(parameter), description(parameter, short)) for parameter in members]
    return tables


def _aligned(parameter: Any) -> str:
    """An argument's name, or an option's short and first long name with its value, the long names aligned."""
    if parameter.param_type_name == "argument":
        return str(parameter.display_name_raw)
    long = next(name for name in parameter.opts if name.startswith("--"))
    short = [name for name in parameter.opts if not name.startswith("--")]
    return f"{short[0] + ',' if short else '':<4}{long} {value_name(parameter)}".rstrip()


def usage(command: Any, context: Any) -> str:
    """The order of a command's words, as "charrnn sample [CHECKPOINT]... [OPTIONS]"."""
    options, *others = command.collect_usage_pieces(context)
    if isinstance(command, TyperGroup):
        name = "[COMMAND]" if command.invoke_without_command else "COMMAND"
        return f"{context.command_path} {options} {name}"
    words = [re.sub("[{}]", "", word) for word in others]  # of an argument that is required
    words = [word.replace(" ", "]... [") for word in words]  # one argument, which takes two kinds of values
    return " ".join([context.command_path, *words, options])


def help_text(command: Any, context: Any, short: bool, width: int) -> str:
    """The help of a command, with ANSI colours, in lines of at most ``width`` columns."""
    parts, tables = about(command), _tables(command, context, short)
    lines = [f"{_heading('Usage')} {usage(command, context)}", "", *_wrapped(parts.summary, width)]
    if not short:
        for paragraph in filter(None, parts.details.split("\n\n")):
            lines += ["", *_wrapped(paragraph, width)]
    if parts.examples:
        lines += ["", _heading("Examples"), *(f"  {line}" for line in parts.examples)]
    longest = max((len(name) for rows in tables.values() for name, _ in rows), default=0)
    for title, rows in tables.items():
        lines += ["", _heading(title)]
        for name, text in rows:
            lines += _row_lines(name, text, min(longest, LONGEST_NAME), width)
    if short and (parts.details or command.epilog or tables != _tables(command, context, short=False)):
        lines += ["", f"All options: {context.command_path} --help"]
    elif command.epilog:
        lines += ["", *_wrapped(command.epilog, width)]
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _heading(text: str) -> str:
    return typer.style(f"{text}:", fg="green", bold=True)


def _row_lines(name: str, text: str, column: int, width: int) -> list[str]:
    """The lines of one row: the name in a column of ``column`` characters, the wrapped text beside it."""
    lines = _wrapped(text, width - column - 4) or [""]
    shown = "  " + typer.style(name, fg="cyan", bold=True)
    margin = " " * (column + 4)
    if len(name) > column:
        return [shown, *(margin + line for line in lines)]
    return [
        f"{shown}{' ' * (column - len(name) + 2)}{lines[0]}".rstrip(),
        *(margin + line for line in lines[1:]),
    ]


class _Help(_Base):
    """A command whose help is ``help_text``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["charrnn.short_help"] = "-h" in args
        if ctx.obj is not None:
            ctx.color = ctx.obj.colours()
        if "" in args or any(word.endswith("=") for word in args):
            self._refuse_empty_names(ctx, args)
        return super().parse_args(ctx, args)

    def _refuse_empty_names(self, ctx: Any, args: list[str]) -> None:
        """Raise ConfigError for an empty path or name, as an unset variable of the shell gives.

        As a path it would be the current folder.
        """
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        for parameter in self.get_params(ctx):
            value, name = values.get(parameter.name), labels(parameter)[-1].split()[0].removesuffix("|-")
            kind = PATH_KINDS.get(str(parameter.metavar))
            if (
                kind
                and name not in MAY_BE_EMPTY
                and (value == "" or (isinstance(value, tuple) and "" in value))
            ):
                raise ConfigError(f"{name} is empty: name {kind}, or leave it out")

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "Print the help: -h in short, --help in full."
        return option

    def get_help(self, ctx: Any) -> str:
        width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
        return help_text(self, ctx, ctx.meta.get("charrnn.short_help", False), width)


class Command(_Help, TyperCommand):
    """A command with a short and a full help."""


class Group(_Help, TyperGroup):
    """A group of commands with a short and a full help; without arguments it prints the short one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; without any, as if -h was given."""
        needs_command = not self.invoke_without_command and not ctx.resilient_parsing
        return super().parse_args(ctx, args or (["-h"] if needs_command else []))


class App(typer.Typer):
    """An application whose commands are ``Command`` and whose groups are ``Group``."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a function as a ``Command``."""
        return super().command(name, cls=Command, **settings)
