"""Read the settings of a YAML file of `conf/` together with their comments, which a YAML parser drops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HIDDEN_KEYS = {"_target_", "_operational_", "_partial_", "defaults"}
"""Keys that say how a file is composed or built. They are no settings that a user sets."""
LINE = re.compile(r"(?P<indent> *)(?P<key>[\w./@-]+):(?: +(?P<rest>.*))?$")


@dataclass
class Setting:
    """One setting of a YAML file, as it stands there."""

    path: tuple[str, ...]
    """Keys of the blocks around it and its own; a key may hold dots."""
    default: str | None
    """Text of the value; None for a block of further settings."""
    comment: str
    """The comment behind the value and the lines that continue it, or the comment lines above."""


def read_header(text: str) -> tuple[list[str], list[str]]:
    """Return the comment lines at the start of a YAML file, without `#`, and the lines after them."""
    lines = text.splitlines()
    count = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:count]], lines[count:]


def read_settings(text: str) -> list[Setting]:
    """Return the settings of a YAML file in its order, with blocks before the settings in them."""
    return [setting for setting in _parse(read_header(text)[1]) if not _is_hidden(setting.path)]


def _is_hidden(path: tuple[str, ...]) -> bool:
    return not HIDDEN_KEYS.isdisjoint(path) or path[0] == "hydra"


def _parse(lines: list[str]) -> Iterator[Setting]:
    parents: list[tuple[int, str]] = []
    """Indentation and key of the blocks around the current line."""
    above: list[str] = []
    setting, column = None, -1
    """The last setting, and the column of the comment behind its value."""
    for line in _skip_texts(lines):
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            words = line.strip().lstrip("#").strip()
            if setting is not None and indent == column:
                setting.comment = f"{setting.comment} {words}"
            else:
                above.append(words)
        elif match := LINE.match(line):
            if setting is not None:
                yield setting
            parents = [parent for parent in parents if parent[0] < indent]
            value, comment = _split_comment(match["rest"] or "")
            path = (*(key for _, key in parents), match["key"])
            setting = Setting(path, value or None, comment or " ".join(above))
            column = line.index("# ", match.end("key")) if comment else -1
            parents.append((indent, match["key"]))
            above = []
        elif not line.strip():
            above, column = [], -1
    if setting is not None:
        yield setting


def _skip_texts(lines: list[str]) -> Iterator[str]:
    """Yield all lines but those of block scalars (`|`, `>`)."""
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or indent > inside):
            continue
        inside = indent if re.search(r"[|>][-+]?$", _split_comment(line)[0]) else None
        yield line


def _split_comment(text: str) -> tuple[str, str]:
    """Split `value  # comment` into both; quotes may hold a `#` that nothing separates from its word."""
    if text.startswith("# "):
        return "", text[2:].strip()
    value, _, comment = text.partition(" # ")
    return value.strip() if comment else text.rstrip(), comment.strip()
