"""``charrnn cache``: the encoded texts that training keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.help import App
from charrnn.cli.options import QuietOption, option, refuse_options_before_subcommand
from charrnn.cli.table import age_text, size_text, write_table
from charrnn.cli.terminal import Terminal
from charrnn.files import json_line

app = App()


@app.callback(invoke_without_command=True)
def cache(
    context: typer.Context,
    as_json: Annotated[bool, option("Print a JSON line for each file.", "--json")] = False,
    quiet: QuietOption = False,
) -> None:
    """List the encoded texts and the weights of mixtures that charrnn keeps, or delete them.

    A text is encoded once, and the weights of a mixture are found once; then they are read from here. The
    weights are in files that end in .json. $CHARRNN_CACHE sets the folder. Only you can read the files. Above
    8 GiB, those that were not used for the longest time are deleted. The downloaded texts of the catalogue
    are not here but in the folder of --corpora.

    Examples:
      charrnn cache
      charrnn cache clear
    """
    if context.invoked_subcommand is not None:
        refuse_options_before_subcommand(context)
        return
    from charrnn.text.cache import cache_folder, cached_files

    out: Terminal = context.obj
    files, now = cached_files(), datetime.now(UTC)
    total = size_text(sum(file.bytes for file in files))
    out.note(f"{_counted([file.path for file in files])}, {total}, in {cache_folder()}")
    if as_json:
        for file in files:
            used = file.used.isoformat(timespec="seconds")
            out.write(json_line({"path": str(file.path), "bytes": file.bytes, "used": used}))
    elif files:
        rows = [("SIZE", "LAST USED", "FILE")]
        for file in files:
            rows.append((size_text(file.bytes), age_text((now - file.used).total_seconds()), file.path.name))
        write_table(out, rows, right=(0, 1))


@app.command("clear")
def clear(context: typer.Context, quiet: QuietOption = False) -> None:
    """Delete the encoded texts and weights; they are made again when they are needed."""
    from charrnn.text import cache as texts

    deleted, freed = texts.clear()
    context.obj.note(f"deleted {_counted(deleted)} in {texts.cache_folder()}: {size_text(freed)} freed")


def _counted(files: Sequence[Path]) -> str:
    """How many texts and mixtures' weights the files are."""
    weights = sum(file.suffix == ".json" for file in files)
    texts = len(files) - weights
    words = f"{texts:,} encoded text{'' if texts == 1 else 's'}"
    return (
        f"{words} and the weights of {weights:,} mixture{'' if weights == 1 else 's'}" if weights else words
    )
