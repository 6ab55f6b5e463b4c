"""Set damaged lines of a journal aside, so that the work they recorded is done again and everything else is kept.

A kill tears the last line only, which `journal.py` handles. Other lines are damaged by disks, power failures, editors
and copies: bytes that are no JSON object, or an object of another shape. They are moved to `NAME.damaged`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from codetool.runs import journal
from codetool.runs.record_shape import Shape
from codetool.runs.write_errors import explain_write_errors

SUFFIX = ".damaged"
NAMED_LINES = 5
"""Maximum number of line numbers in the message."""

log = logging.getLogger(__name__)


def set_damaged_lines_aside(path: Path, shape: Shape | None = None) -> int:
    """Move the damaged lines of a journal to `NAME.damaged`, log one warning of them, and return their number.

    The caller must hold the lock of the folder. Raises ConfigError if a folder has the journal's name.
    """
    message = describe_damage(path, shape)
    if message is None:
        return 0
    kept_aside = path.with_name(path.name + SUFFIX)
    damaged = [line for _, line, problem in _check_lines(path, shape) if problem]
    with explain_write_errors(kept_aside), kept_aside.open("ab") as file:
        file.writelines(damaged)
    journal.atomic_write(path, (line for _, line, problem in _check_lines(path, shape) if not problem))
    log.warning("%s Moved to %s; what is missing for this result is done again.", message, kept_aside.name)
    return len(damaged)


def describe_damage(path: Path, shape: Shape | None = None) -> str | None:
    """Return one sentence on the damaged lines of a journal, None if there are none or no journal."""
    problems = [(number, problem) for number, _, problem in _check_lines(path, shape) if problem]
    if not problems:
        return None
    first_number, first_problem = problems[0]
    if len(problems) == 1:
        return f"{path}: 1 line is damaged: line {first_number} {first_problem}."
    further = ", ".join(str(number) for number, _ in problems[1:NAMED_LINES])
    more = ", …" if len(problems) > NAMED_LINES else ""
    return (
        f"{path}: {len(problems)} lines are damaged: line {first_number} {first_problem}; likewise lines "
        f"{further}{more}."
    )


def _check_lines(path: Path, shape: Shape | None) -> Iterator[tuple[int, bytes, str | None]]:
    """Yield number, content and problem of each complete line; the problem of a good line is None."""
    for number, line in journal.read_complete_lines(path):
        parsed = journal.parse_record(line, shape)
        yield number, line, parsed if isinstance(parsed, str) else None
