"""``charrnn corpus``: the texts of the catalogue."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from charrnn.cli.options import CorporaOption, corpora_folder, terminal
from charrnn.cli.text_source import fetch_corpus

app = typer.Typer(help="List the texts of the catalogue, or download one.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="A name from `charrnn corpus list`.")]


@app.command("list")
def list_(context: typer.Context, corpora: CorporaOption = None) -> None:
    """List the texts: name, size, whether the text is on this machine, licence, description."""
    from charrnn.text import catalog

    folder = corpora_folder(corpora)
    rows = [("NAME", "BYTES", "HERE", "LICENCE", "ABOUT")]
    for entry in catalog.entries().values():
        here = "yes" if entry.builtin or (folder / f"{entry.name}.txt").is_file() else "no"
        size = f"{entry.size:,}" if entry.size else "-"
        rows.append((entry.name, size, here, entry.licence, entry.about))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, size, here, licence, about in rows:
        line = (
            f"{name:<{widths[0]}}  {size:>{widths[1]}}  {here:<{widths[2]}}  {licence:<{widths[3]}}  {about}"
        )
        terminal(context).write(line.encode() + b"\n")


@app.command("get")
def get(context: typer.Context, name: NameArgument, corpora: CorporaOption = None) -> None:
    """Download a text, check its hash, and print its path."""
    from charrnn.text import catalog

    out = terminal(context)
    path = fetch_corpus(out, catalog.entry(name), corpora_folder(corpora))
    out.write(os.fsencode(path) + b"\n")
