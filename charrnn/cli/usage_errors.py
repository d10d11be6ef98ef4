"""One line for a wrong command line: what is wrong, and what to type instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import typer

from charrnn.cli import predecessors
from charrnn.cli.help import value_name
from charrnn.errors import did_you_mean, similar_name, wrong_value

COMMANDS = {
    **dict.fromkeys(("learn", "fit", "train.lua", "train.py"), "train"),
    **dict.fromkeys(("generate", "write", "complete", "sample.lua", "sample.py"), "sample"),
}
"""Words that may stand for a command, for "did you mean"."""

LISTING = ("list", "ls", "show")
LISTS = ("charrnn runs", "charrnn cache")
"""Commands that list without a further word."""

ANSWERS = {
    **dict.fromkeys(("resume", "continue"), "charrnn train --resume RUN"),
    **dict.fromkeys(LISTING, "charrnn runs"),
    **dict.fromkeys(("interactive", "chat"), "charrnn sample --interactive"),
    "download": "charrnn corpus get NAME",
}
"""What to type for words that are commands of other programs."""


class Command(NamedTuple):
    """The command that a command line names: "charrnn corpus get", typer's command, its arguments."""

    path: str
    command: Any
    arguments: Sequence[str]

    def options(self) -> dict[str, Any]:
        """Typer's parameter for each option, by name: "--seed" and "-s"."""
        return {
            name: parameter
            for parameter in self.command.params
            if parameter.param_type_name == "option"
            for name in (*parameter.opts, *parameter.secondary_opts)
        }


def find_command(root: Any, arguments: Sequence[str]) -> Command:
    """The innermost command that the arguments name."""
    path, command = "charrnn", root
    for index, argument in enumerate(arguments):
        commands = getattr(command, "commands", {})
        if argument in commands:
            path, command = f"{path} {argument}", commands[argument]
        elif not commands or not argument.startswith("-"):
            return Command(path, command, arguments[index:])
    return Command(path, command, ())


def explain(error: typer.TyperException, root: Any, arguments: Sequence[str]) -> str:
    """The message for a command line that typer refuses; "" where typer has printed the help."""
    command = find_command(root, arguments)
    if message := foreign_options(command, arguments=command.arguments):
        return message
    if isinstance(error, typer.BadParameter) and not hasattr(error, "param_type"):
        return _bad_value(error)
    message = _usage_message(error, command)
    return message if not message or message.endswith("--help") else f"{message} (see {command.path} --help)"


def foreign_options(command: Command, arguments: Sequence[str]) -> str:
    """What flags of other programs, and long options with one dash, are called here; "" without any."""
    options = command.options()
    messages = []
    for given in _option_names(arguments, options):
        name = given.lstrip("-").replace("-", "_")
        flag = predecessors.find(command.path.removeprefix("charrnn "), name)
        if given in options or len(given) == 2:
            continue
        if flag is not None:
            messages.append(f"{given} {flag.answer()}")
        elif f"-{given}" in options:
            messages.append(f"{given} has two dashes here: -{given}")
    return "; ".join(dict.fromkeys(messages))


def _option_names(arguments: Sequence[str], options: dict[str, Any]) -> Iterator[str]:
    """The options among the arguments, without "=VALUE"; values of known options are passed over."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return
        if argument.startswith("-"):
            name, equals, _ = argument.partition("=")
            yield name
            if name in options and not options[name].is_flag and not equals:
                next(rest, None)


def _bad_value(error: typer.BadParameter) -> str:
    """The message for a value that typer, or a parser of ours, refuses."""
    parameter: Any = error.param
    if parameter is None:
        return error.message
    option = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
    details: Any = error.__cause__  # pydantic's; a callback that raises BadParameter has none
    if details is None:
        return f"{option}: {error.message}"
    detail = details.errors()[0]
    value, descriptor = detail["input"], parameter.type_descriptor
    if descriptor.choices:
        choices = [str(choice.value) for choice in descriptor.choices]
        rule = f"{', '.join(choices[:-1])} or {choices[-1]}{did_you_mean(str(value), choices)}"
    elif detail["type"] == "value_error":
        rule = str(detail["ctx"]["error"]).removeprefix("must be ")
    else:
        rule = "a whole number" if descriptor.annotation is int else "a number"
        if parameter.min is not None:
            end = f" to {parameter.max}" if parameter.max is not None else " up"
            rule += f" from {parameter.min}{end}"
    return wrong_value(option, value, rule)


def _usage_message(error: typer.TyperException, command: Command) -> str:
    """The message for an unknown, incomplete or superfluous option or argument, or an unknown command."""
    options = command.options()
    option = getattr(error, "option_name", None)
    context = getattr(error, "ctx", None)
    if option in options and context and context.command_path != command.path:
        return f"{option}: give it after the command: {command.path} {option}"
    if option in options:
        value = value_name(options[option])  # "" for a flag
        return f"{option} needs a value: {option} {value}" if value else f"{option} takes no value"
    if option is not None:
        names = ["help", *(name[2:] for name in options if name.startswith("--"))]
        similar = similar_name(option[2:], names) if option.startswith("--") else None
        return f"no option is called {option}{f'; did you mean --{similar}?' if similar else ''}"
    message = " ".join(error.format_message().split())
    if message.startswith("Missing"):
        parameter: Any = getattr(error, "param", None)
        return f"{parameter.metavar or parameter.name} is missing"
    commands = getattr(command.command, "commands", None)
    if commands and message.startswith("No such command"):
        unknown = command.arguments[0]
        if unknown == "help":
            topic = next((f" {name}" for name in command.arguments[1:2] if name in commands), "")
            return f"no command is called help; type {command.path}{topic} --help"
        if unknown in LISTING and command.path in LISTS:
            return f"no command is called {unknown}; type {command.path}"
        if unknown in ANSWERS and command.path == "charrnn":
            return f"no command is called {unknown}; type {ANSWERS[unknown]}"
        hint = did_you_mean(unknown, commands, COMMANDS) or f"; commands: {', '.join(commands)}"
        return f"no command is called {unknown}{hint}"
    if message.startswith("Got unexpected extra argument"):
        return f"one argument too many: {message.rpartition('(')[2].removesuffix(')')}"
    return message
