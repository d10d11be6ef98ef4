"""Pages that ``--html`` saves: one file, which refers to no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charrnn.cli.terminal import printable
from charrnn.errors import CharrnnError
from charrnn.files import atomic_write, json_text, write_errors

TEMPLATES = Path(__file__).with_name("pages")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page in chunks, so that its parts may be generators. Raises CharrnnError."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=jinja2.FileSystemLoader(TEMPLATES),
    )
    environment.policies["json.dumps_function"] = lambda value, **settings: json_text(value)
    page = environment.get_template(template).stream(**values)
    page.enable_buffering(1000)
    with write_errors(path, CharrnnError), atomic_write(path) as file:
        for chunk in page:
            file.write(chunk.encode())


def _shown(value: Any) -> Any:
    """A value as a page shows it: no name can change the direction of the page's text, or is not UTF-8.

    The newlines and tabs of a text come alone.
    """
    unprintable = isinstance(value, str) and not value.isprintable() and value not in "\n\t"
    return printable(value) if unprintable else value
