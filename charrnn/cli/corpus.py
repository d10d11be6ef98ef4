"""``charrnn corpus``: the texts of the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from charrnn.cli import completion
from charrnn.cli.help import App
from charrnn.cli.options import CORPORA, CorporaOption, QuietOption
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import fetch_corpus

app = App(help="List the texts of the catalogue, or download one.")

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name from `charrnn corpus list`.", autocompletion=completion.corpora
    ),
]


@app.command("list")
def list_(context: typer.Context, corpora: CorporaOption = CORPORA) -> None:
    """List the texts: name, size, whether the text is on this machine, licence, description."""
    from charrnn.text import catalog

    rows = [("NAME", "BYTES", "HERE", "LICENCE", "ABOUT")]
    for entry in catalog.entries().values():
        here = "yes" if entry.builtin or (corpora / f"{entry.name}.txt").is_file() else "no"
        size = f"{entry.size:,}" if entry.size else "-"
        rows.append((entry.name, size, here, entry.licence, entry.about))
    write_table(context.obj, rows, right=(1,))


@app.command("get")
def get(
    context: typer.Context, name: NameArgument, quiet: QuietOption = False, corpora: CorporaOption = CORPORA
) -> None:
    """Download a text, check its hash, and print its path."""
    from charrnn.text import catalog

    out: Terminal = context.obj
    path = fetch_corpus(out, catalog.entry(name), corpora)
    out.write_path(path)
