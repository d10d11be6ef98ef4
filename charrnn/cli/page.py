"""Pages that ``--html`` saves: one file, which refers to no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charrnn.errors import CharrnnError
from charrnn.files import atomic_write, write_errors

TEMPLATES = Path(__file__).with_name("pages")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page in chunks, so that its parts may be generators. Raises CharrnnError."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=jinja2.FileSystemLoader(TEMPLATES)
    )
    page = environment.get_template(template).stream(**values)
    page.enable_buffering(1000)
    with write_errors(path, CharrnnError), atomic_write(path) as file:
        for chunk in page:
            file.write(chunk.encode("utf-8", "replace"))
