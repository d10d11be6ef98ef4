"""``charrnn runs``: the trained runs, to list, remove, rename and compare."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from charrnn.cli import completion
from charrnn.cli.help import App
from charrnn.cli.info import draw_losses, value_text
from charrnn.cli.options import (
    RUNS,
    CheckpointsOption,
    QuietOption,
    find_checkpoint,
    option,
    refuse_options_before_subcommand,
)
from charrnn.cli.table import age_text, size_text, write_table
from charrnn.cli.terminal import Terminal, printable
from charrnn.cli.train_options import parse_name
from charrnn.config import ModelConfig, NgramConfig
from charrnn.errors import CharrnnError, ConfigError
from charrnn.files import json_line, json_text

app = App()

JsonOption = Annotated[bool, option("Print a JSON line for each run, with all facts.", "--json")]
NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Names of runs.", autocompletion=completion.runs)
]
YesOption = Annotated[bool, option("Delete without a question.", "--yes", "-y")]
OldArgument = Annotated[
    str, typer.Argument(metavar="OLD", help="The name of a run.", autocompletion=completion.runs)
]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", parser=parse_name)]
FirstArgument = Annotated[
    str,
    typer.Argument(
        metavar="A",
        help="A checkpoint file, a run's folder or its name.",
        autocompletion=completion.checkpoints,
    ),
]
SecondArgument = Annotated[
    str, typer.Argument(metavar="B", help="Another checkpoint.", autocompletion=completion.checkpoints)
]


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """List the runs; remove, rename or compare them.

    The run saved last comes first, the models that come with charrnn come last. BPC is the lowest
    validation loss, in bits per character. `charrnn train --resume NAME` continues a resumable run.

    Examples:
      charrnn runs
      charrnn runs --json | jq -r 'select(.validation_bpc < 2) | .name'
      charrnn runs diff notes notes-2
    """
    if context.invoked_subcommand is not None:
        refuse_options_before_subcommand(context)
        return
    from charrnn.runs.find import elsewhere
    from charrnn.runs.runs import list_runs

    out: Terminal = context.obj
    all_facts = list_runs(checkpoints)
    others = elsewhere(checkpoints)
    hint = f" ({others}: see them with --checkpoints)" if others else ""
    if any(not facts["pretrained"] for facts in all_facts):
        out.note(f"runs in {checkpoints}{hint}")
    else:
        out.note(f"no runs in {checkpoints}{hint}: train one with `charrnn train TEXT`")
    if as_json:
        for facts in all_facts:
            out.write(json_line(facts))
    elif all_facts:
        _write_runs(out, all_facts)


def _write_runs(out: Terminal, all_facts: Sequence[dict[str, Any]]) -> None:
    """Write a row for each run; a last column for notes only where there are any."""
    now = datetime.now(UTC)
    rows = [["NAME", "TEXT", "MODEL", "BPC", "AGE", "SIZE", "RESUMABLE", "NOTE"]]
    for facts in all_facts:
        bpc = facts.get("validation_bpc")
        saved = facts["saved"]
        age = age_text((now - datetime.fromisoformat(saved)).total_seconds()) if saved else "-"
        rows.append(
            [
                facts["name"],
                facts.get("corpus") or "-",
                _model(facts),
                "-" if bpc is None else f"{bpc:.3f}",
                age,
                size_text(facts["size_bytes"]),
                "yes" if facts["resumable"] else "no",
                _note(facts),
            ]
        )
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    write_table(out, rows, right=(3, 4, 5))


def _model(facts: dict[str, Any]) -> str:
    """The size of a run's model."""
    if "order" in facts:
        return NgramConfig(facts["order"]).title
    if "cell" not in facts:
        return "-"
    names = ("cell", "layers", "hidden", "backward")
    return ModelConfig(**{name: facts[name] for name in names if name in facts}).title


def _note(facts: dict[str, Any]) -> str:
    if facts["pretrained"]:
        return "comes with charrnn"
    notes = ["in training"] if facts["in_training"] else []
    return "; ".join([*notes, facts["problem"]] if facts["problem"] else notes)


@app.command("rm")
def remove(
    context: typer.Context,
    names: NamesArgument,
    yes: YesOption = False,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Delete runs, after a question.

    Other files in a run's folder stay, and so does a run that is being trained.

    Examples:
      charrnn runs rm notes-2
      charrnn runs rm notes-2 notes-3 --yes
    """
    from charrnn.runs import runs as folder_of_runs

    out: Terminal = context.obj
    folders = [folder_of_runs.find_run(checkpoints, name) for name in dict.fromkeys(names)]
    if not yes:
        if not (out.stdin_tty and out.stderr_tty):
            raise ConfigError("runs rm asks before it deletes, in a terminal; elsewhere give --yes")
        shown = ", ".join(printable(str(folder)) for folder in folders)
        if not typer.confirm(f"Delete {shown}?", err=True):
            raise CharrnnError("nothing was deleted")
    for folder in folders:
        freed, others = folder_of_runs.remove(folder)
        kept = f"; kept its folder, which has other files: {', '.join(others)}" if others else ""
        out.note(f"deleted {folder}: {size_text(freed)}{kept}")


@app.command("mv")
def rename(
    context: typer.Context,
    old: OldArgument,
    new: NewArgument,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Rename a run: its folder, and the name in its checkpoints.

    Examples:
      charrnn runs mv notes-2 notes-wide
    """
    from charrnn.runs import runs as folder_of_runs

    folder = folder_of_runs.find_run(checkpoints, old)
    context.obj.note(f"renamed {folder} to {folder_of_runs.rename(folder, new)}")


@app.command("diff")
def compare(
    context: typer.Context,
    first: FirstArgument,
    second: SecondArgument,
    as_json: Annotated[bool, option("Print one JSON object.", "--json")] = False,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Compare two runs: their results, the settings that are not equal and, in a terminal, their loss curves.

    Examples:
      charrnn runs diff notes notes-2
      charrnn runs diff notes notes-2 --json | jq .settings
    """
    from charrnn.runs.info import reports
    from charrnn.runs.runs import compare as compared

    out: Terminal = context.obj
    paths = [find_checkpoint(out, name, checkpoints) for name in (first, second)]
    results, settings = compared(paths)
    if as_json:
        logs = [reports(path) for path in paths]
        facts = {"names": [first, second], "results": results, "settings": settings, "reports": logs}
        out.write(json_line(facts))
        return
    rows = [["RESULTS", first, second], *_rows(results), ["", "", ""]]
    rows += [["SETTINGS", first, second], *_rows(settings)] if settings else [["equal settings", "", ""]]
    write_table(out, rows)
    if out.stdout_tty and (plot := draw_losses([(first, paths[0]), (second, paths[1])], out.colours())):
        out.write(f"\n{plot}\n".encode())


def _rows(values: dict[str, list[Any]]) -> list[list[str]]:
    """The rows of the values that not all checkpoints lack."""
    return [
        [name.replace("_", " "), *(_short_text(name, value) for value in row)]
        for name, row in values.items()
        if any(value is not None for value in row)
    ]


def _short_text(name: str, value: Any) -> str:
    """As ``value_text``, with hashes cut short and symbols in quotes."""
    if name.endswith("sha256"):
        return str(value)[:12]
    return json_text(value) if name.startswith("symbols") else value_text(name, value)
