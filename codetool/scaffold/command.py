"""`codetool new benchmark|search|prm NAME [--into DIR]`: begin a part of one's own."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from codetool.errors import ConfigError
from codetool.scaffold.new_part import PACKAGES, NewPart, select_folder

DESCRIPTION = "Begin a part of your own: writes its class, its option (a YAML file) and its test."
USAGE = "codetool new benchmark|search|prm NAME [--into DIR]"


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as those of all commands."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"new: {message}. Usage: {USAGE}")


def run_new(arguments: Sequence[str], program: str) -> None:
    """Write the files of a new part and print what to do with them. Raises ConfigError.

    `program` is how CodeTool was started, such as `codetool`.
    """
    parser = _Parser(prog="codetool new", usage=USAGE, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("group", choices=sorted(PACKAGES), metavar="benchmark|search|prm", help="what to begin")
    parser.add_argument("name", metavar="NAME", help="name of the option, such as best_first")
    parser.add_argument("--into", type=Path, metavar="DIR", help="folder of yours; default: this checkout, else here")
    parsed = parser.parse_args(arguments)
    folder, in_checkout = select_folder(parsed.into)
    part = NewPart(parsed.group, parsed.name, folder, in_checkout)
    part.write()
    for line in _describe(part, program):
        print(line)
    sys.stdout.flush()


def _describe(part: NewPart, program: str) -> list[str]:
    """Return lines that name the files and the commands for them."""
    module, option, test = map(_shorten, part.files)
    added = "" if part.in_checkout else f"--config-dir {shlex.quote(_shorten(part.options))} "
    return [
        f"{module}: the class {part.class_name}, to be changed",
        f"{option}: its settings",
        f"{test}: its test",
        f"test it: pytest {shlex.quote(test)}",
        f"use it: {program} {added}{part.group}={part.name}",
    ]


def _shorten(path: Path) -> str:
    """Return a path as seen from the current folder if it lies below it."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
