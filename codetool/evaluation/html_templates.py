"""Load templates of HTML pages. What is inserted is escaped, unless it is `Markup`."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup


def load_template(file: Path) -> Template:
    """Return the template in a file; a line that holds a block of Jinja alone leaves no line."""
    environment = Environment(
        loader=FileSystemLoader(file.parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(file.name)


def read_markup(*files: Path) -> Markup:
    """Return the joined content of files of ours, such as styles, which is inserted as it is."""
    return Markup("".join(file.read_text(encoding="utf-8") for file in files))
