"""The commands of the documentation: the lines of each ```bash block of README.md and docs/, and why some are not run.

A block that a test cannot run stands below a comment `<!-- not run: REASON -->`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAB = "my_lab"
"""Folder into which the pages write parts of a reader's own."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = re.compile(r"\s*<!-- not run: (?P<reason>.+?) -->\s*")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Command:
    """One command of a block."""

    page: Path
    line: int
    """Number of the line on which its block begins."""
    environment: dict[str, str]
    """Variables that are set before the program's name."""
    words: tuple[str, ...]
    not_run: str | None
    """Why a test cannot run it; None if it can."""

    @property
    def program(self) -> str:
        """`codetool` for whatever starts `run.py`, else the first word: `pip`, `pytest`, `experiments/x.py`.

        A module of this project that is started with `python -m` is its file.
        """
        if "run.py" in self.words:
            return "codetool"
        word = next(word for word in self.words[:3] if word not in ("python", "-m"))
        return f"{word.replace('.', '/')}.py" if word.startswith("codetool.") else word

    @property
    def arguments(self) -> tuple[str, ...]:
        if "run.py" in self.words:
            return self.words[self.words.index("run.py") + 1 :]
        return self.words[2 if self.words[0] == "python" else 1 :]

    def replace(self, old: str, new: str) -> Command:
        """The command with a text replaced in all its words."""
        return replace(self, words=tuple(word.replace(old, new) for word in self.words))

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {shlex.join(self.words)}"


def read_commands(page: Path) -> list[Command]:
    """The commands of a page in its order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [command for block in _find_blocks(lines) for command in _split_block(page, *block)]


def _find_blocks(lines: list[str]) -> Iterator[tuple[int, list[str], str | None]]:
    """Number of its first line, lines, and reason not to be run of every block."""
    reason: str | None = None
    block: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if block is not None:
            if line.strip() == "```":
                yield number - len(block) - 1, block, reason
                block, reason = None, None
            else:
                block.append(line.strip())
        elif line.strip() == "```bash":
            block = []
        elif match := NOT_RUN.fullmatch(line):
            reason = match["reason"]
        elif line.strip():
            reason = None


def _split_block(page: Path, number: int, lines: list[str], reason: str | None) -> Iterator[Command]:
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word not in ("&&", "|", ";", "&"):
                words.append(word)
            elif words:
                count = next((i for i, each in enumerate(words) if not ASSIGNMENT.fullmatch(each)), len(words))
                variables = dict(each.split("=", 1) for each in words[:count])
                if words[count:]:
                    yield Command(page, number, variables, tuple(words[count:]), reason)
                words = []
