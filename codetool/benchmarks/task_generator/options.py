"""Options of the command that generates tasks, checked before a minute is spent on the tasks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from codetool.benchmarks.task_generator.compositions import compose_chains


def create_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the options, whose `error` ends the program with code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.benchmarks.task_generator.generate", description=description
    )
    parser.add_argument("--train", type=_parse_count, help="number of train tasks; default: the stored splits")
    parser.add_argument(
        "--compositions", type=_parse_count, help="number of train tasks of further templates, one of each"
    )
    parser.add_argument("--out", type=_parse_file, help="file for the train tasks, in a folder that exists")
    return parser


def parse_options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; ends the program with a message if they are wrong or do not go together."""
    options = parser.parse_args(arguments)
    if (options.train is None and options.compositions is None) != (options.out is None):
        parser.error("--train or --compositions goes with --out: how many tasks, and the file to write them to")
    if options.compositions and options.compositions > (most := len(compose_chains())):
        parser.error(f"--compositions {options.compositions}: there are {most} further templates; ask for fewer")
    return options


def _parse_count(text: str) -> int:
    """Return the number of tasks that the user names, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tasks; give a whole number, 1 or more")
    return int(text)


def _parse_file(text: str) -> Path:
    """Return the file that the user names, if it can be written."""
    file = Path(text)
    if not text or file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file, such as {file / 'tasks.jsonl'}")
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {file.parent} is not there; create it, or name another file")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written; name a file in a folder that you may write to")
    return file
