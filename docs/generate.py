"""Write the generated docs; run ``python docs/generate.py``.

docs/commands.md and the manual page docs/charrnn.1 come from the commands' help, the tables of tensors in
docs/checkpoint-format.md from the cells, docs/from-other-tools.md from charrnn/cli/predecessors.py. The
tests compare the pages with these functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import charrnn
from charrnn import cells
from charrnn.cli import app, predecessors
from charrnn.cli.help import about, default_text, description, labels, panels, usage
from charrnn.config import ModelConfig
from charrnn.runs import parameters

COMMANDS = Path(__file__).parent / "commands.md"
MANUAL = Path(__file__).parent / "charrnn.1"
FORMAT = Path(__file__).parent / "checkpoint-format.md"
OTHER_TOOLS = Path(__file__).parent / "from-other-tools.md"
TABLES_BEGIN, TABLES_END = "<!-- begin: tables of tensors -->\n", "<!-- end: tables of tensors -->\n"

N, H, D, E, V = 1_000_000_000, 1_000_000, 10_000, 100, 1
"""Sizes whose sums are read back as letters: 3_010_000 is 3 H + D."""

ENVIRONMENT = {
    "CHARRNN_CHECKPOINTS": "Folder of the runs, as --checkpoints.",
    "CHARRNN_CORPORA": "Folder of the catalogue's texts, as --corpora.",
    "CHARRNN_CACHE": "Folder of the encoded texts.",
    "NO_COLOR": "If set, --colour auto means never.",
    "FORCE_COLOR": "If set, --colour auto means always.",
    "OMP_NUM_THREADS": "Threads of NumPy and torch.",
}
FILES = {
    "checkpoints/NAME/model.safetensors": "The best checkpoint of a run.",
    "checkpoints/NAME/last.safetensors": "The last checkpoint of a run, from which --resume goes on.",
    "checkpoints/NAME/log.jsonl": "The reports of a run, one JSON object for each.",
    "corpora/NAME.txt": "A text that was downloaded from the catalogue.",
}
FOLDERS = (
    "Where the current folder has no folder checkpoints, or corpora, the folder of that name in the user's"
    " data folder is used: ~/.local/share/charrnn on Linux."
)


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yields the name, the command and its context of every command that does something by itself."""
    return _commands("charrnn", typer.main.get_command(app))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any, Any]]:
    if getattr(command, "invoke_without_command", True):
        yield name, command, typer.Context(command, info_name=name)
    for key, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {key}", inner)


def _panels(command: Any, context: Any) -> dict[str, list[Any]]:
    """The parameters of a command by panel, without --help."""
    parameters = [parameter for parameter in command.get_params(context) if parameter.name != "help"]
    return panels(parameters)


# --- docs/commands.md ---


def commands_page() -> str:
    """All of docs/commands.md."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# The commands\n",
        "Written by `docs/generate.py` from the commands' own help. `charrnn COMMAND -h` prints the common"
        " options, `charrnn COMMAND --help` all.\n",
        f"{root.epilog}\n",
    ]
    for name, command, context in commands():
        parts += _section(name, command, context)
    return "\n".join(parts)


def _section(name: str, command: Any, context: Any) -> list[str]:
    text = about(command)
    parts = [f"## {name}\n", f"`{usage(command, context)}`\n", f"{text.summary}\n"]
    if text.details:
        parts.append(f"{text.details}\n")
    if text.examples:
        parts += ["```sh", *text.examples, "```\n"]
    for title, members in _panels(command, context).items():
        parts += [f"| {title} | default | |", "|---|---|---|"]
        for parameter in members:
            names = ", ".join(f"`{label}`" for label in labels(parameter)).replace("|", r"\|")
            default = default_text(parameter)
            if default and not isinstance(parameter.show_default, str):
                default = f"`{default}`"
            parts.append(f"| {names} | {default} | {parameter.help or ''} |")
        parts.append("")
    return parts


# --- docs/charrnn.1 ---


def man_page() -> str:
    """All of docs/charrnn.1, in the macros of man(7)."""
    root: Any = typer.main.get_command(app)
    text = about(root)
    lines = [
        ".\\\" Written by docs/generate.py from the commands' own help.",
        f'.TH CHARRNN 1 "" "charrnn {charrnn.__version__}" "User Commands"',
        *(".nh", ".ad l"),
        *(".SH NAME", rf"charrnn \- {_roff(_lower(text.summary.rstrip('.')))}"),
        *(".SH SYNOPSIS", *(f"{_bold(usage(*command[1:]))}\n.br" for command in commands())),
        *(".SH DESCRIPTION", _roff(f"{text.summary} {text.details}".strip())),
        *(".PP", _roff("charrnn COMMAND -h prints the common options of a command, --help all.")),
        ".SH COMMANDS",
    ]
    for command in commands():
        lines += _man_command(*command)
    lines += [".SH EXIT STATUS", _roff(root.epilog.partition(": ")[2])]
    lines += [".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    lines += [".SH FILES", *_terms(FILES), ".PP", _roff(FOLDERS)]
    lines += [".SH EXAMPLES", *_examples(text.examples)]
    return "\n".join(lines) + "\n"


def _man_command(name: str, command: Any, context: Any) -> list[str]:
    text = about(command)
    lines = [f".SS {_roff(usage(command, context))}", _roff(text.summary)]
    for paragraph in filter(None, text.details.split("\n\n")):
        lines += [".PP", _roff(" ".join(paragraph.split()))]
    if text.examples:
        lines += [".PP", *_examples(text.examples)]
    for title, members in _panels(command, context).items():
        lines += [".PP", _bold(f"{title}:")]
        terms = {", ".join(labels(parameter)): description(parameter) for parameter in members}
        lines += _terms(terms)
    return lines


def _terms(terms: dict[str, str]) -> list[str]:
    return [line for term, text in terms.items() for line in (".TP", _bold(term), _roff(text))]


def _examples(lines: list[str]) -> list[str]:
    return [".EX", *map(_roff, lines), ".EE"]


def _bold(text: str) -> str:
    return f".B {_roff(text)}" if " " not in text else f'.B "{_roff(text)}"'


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _roff(text: str) -> str:
    """Text as roff prints it: no control characters, hyphens that can be copied, only ASCII."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("'", r"\(aq")
    text = text.replace("`", r"\(ga").replace("^", r"\(ha").replace("~", r"\(ti")
    text = re.sub(r"[^\x00-\x7f]", lambda match: rf"\[u{ord(match[0]):04X}]", text)
    return rf"\&{text}" if text.startswith(".") else text


# --- docs/checkpoint-format.md ---


def format_page(page: str) -> str:
    """docs/checkpoint-format.md with the tables of tensors written anew between their two markers."""
    before, _, rest = page.partition(TABLES_BEGIN)
    _, _, after = rest.partition(TABLES_END)
    return f"{before}{TABLES_BEGIN}\n{tensor_tables()}\n{TABLES_END}{after}"


def tensor_tables() -> str:
    """Two tables of names and shapes: the tensors outside the layers, and each cell's tensors of a layer."""
    network = parameters.shapes(ModelConfig(layers=1, hidden=H, embedding=E), V)
    one_hot = parameters.shapes(ModelConfig(layers=1, hidden=H, embedding=0), V)
    attending = parameters.shapes(ModelConfig(layers=1, hidden=H, embedding=E, attention=N), V)
    lines = ["| tensor | shape | |", "|---|---|---|"]
    for name, shape in attending.items():
        if not name.startswith("layers."):
            condition = "" if name in one_hot else "not with one-hot input"
            condition = condition if name in network else "only with attention"
            lines.append(f"| `{name}` | {_letters(network.get(name, shape))} | {condition} |")
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


OTHER_TOOLS_BEGIN = """# From char-rnn, torch-rnn, textgenrnn or nanoGPT

Written by `docs/generate.py` from `charrnn/cli/predecessors.py`.

If you type one of their flags, with one dash or two, an error message names the option of charrnn:

```text
$ charrnn train -rnn_size 256 -num_layers 2
charrnn: -rnn_size (char-rnn, torch-rnn, textgenrnn) is --hidden here;
         -num_layers (char-rnn, torch-rnn) is --layers here
```

These commands of char-rnn

```text
th train.lua -data_dir data/tinyshakespeare -rnn_size 256 -num_layers 2 -dropout 0.3 -seq_length 64
th sample.lua cv/lm_lstm_epoch30.00_1.4.t7 -primetext 'ROMEO:' -length 500 -temperature 0.7
```

are these commands of charrnn

```sh
charrnn train tinyshakespeare --hidden 256 --layers 2 --dropout 0.3 --bptt 64
charrnn sample --prompt 'ROMEO:' --length 500 --temperature 0.7
```

A text needs no preparation. Without `--layers`, `--hidden` and `--dropout`, they are chosen for the text
and the time.
The files of the other programs (`.t7`, `.hdf5`, `.pt`) cannot be read.
"""


def other_tools_page() -> str:
    """All of docs/from-other-tools.md."""
    parts = [OTHER_TOOLS_BEGIN]
    for command in (predecessors.TRAIN, predecessors.SAMPLE):
        parts += [f"## charrnn {command}\n", "| flag | of | here | |", "|---|---|---|---|"]
        for flag in predecessors.FLAGS:
            if flag.command == command:
                ours = f"`{flag.ours}`" if flag.ours else "–"
                parts.append(f"| `{flag.name}` | {', '.join(flag.programs)} | {ours} | {flag.note} |")
        parts.append("")
    return "\n".join(parts)


def _letters(shape: tuple[int, ...]) -> str:
    """(3_000_000, 10_000) -> "(3 H, D)"."""
    sizes = []
    for size in shape:
        terms = []
        for letter, unit in (("N", N), ("H", H), ("D", D), ("E", E), ("V", V)):
            count, size = divmod(size, unit)
            terms += [letter if count == 1 else f"{count} {letter}"] if count else []
        sizes.append(" + ".join(terms))
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


if __name__ == "__main__":
    COMMANDS.write_text(commands_page(), encoding="utf-8")
    MANUAL.write_text(man_page(), encoding="utf-8")
    OTHER_TOOLS.write_text(other_tools_page(), encoding="utf-8")
    FORMAT.write_text(format_page(FORMAT.read_text(encoding="utf-8")), encoding="utf-8")
