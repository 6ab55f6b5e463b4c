"""Encode the prompts of a search tree in little space, for a report: what prompts share is stored once.

The encoding of a prompt is `[node, keep, pieces, messages]`. Its text, the contents of all messages without anything
between them, is the first `keep` characters of the text of another node's prompt (null and 0 without one), then the
pieces: a text, `["l", lines]`, lines of a pool that all trees share, joined by newlines, `["t", node]`, the text of a
step, or `["o", node, start, end]`, a part of its observation. `messages` are `[role, end]`, where `end` is the number
of characters of the text up to the end of the message. Characters are counted in UTF-16 units, as JavaScript does.
`report_page/prompts.js` decodes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from codetool.types import JSON, Node

LEAST_COPY = 40
"""Lowest number of characters of a step's text or observation for which it is not simply repeated."""


@dataclass
class LinePool:
    """Lines that prompts of different tasks share, such as those about tools."""

    lines: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> list[int]:
        """Return the numbers of the text's lines; new lines are added."""
        return [self._number(line) for line in text.split("\n")]

    def _number(self, line: str) -> int:
        number = self.numbers.setdefault(line, len(self.lines))
        if number == len(self.lines):
            self.lines.append(line)
        return number


class PromptEncoder:
    """Encodes the prompts of one tree, parents first."""

    def __init__(self, pool: LinePool) -> None:
        """Take the pool of all trees."""
        self._pool = pool
        self._texts: dict[str, str] = {}
        self._sibling: dict[str, str] = {}

    def encode(self, node: Node, messages: Sequence[Mapping[str, str]]) -> JSON:
        """Return the encoding of the prompt that was read for a node."""
        text = "".join(message["content"] for message in messages)
        ends = _list_ends(messages)
        parent = node.parent.id if node.parent else ""
        base = self._sibling.get(parent, parent if parent in self._texts else None)
        self._sibling.setdefault(parent, node.id)
        self._texts[node.id] = text
        if base is None:
            return [None, 0, [["l", self._pool.add(text)]], ends]
        keep = _measure_common_prefix(self._texts[base], text)
        own = text.rfind(node.step.text) if node.step else -1
        keep = own if 0 <= own < keep else keep  # siblings often begin alike, and a step's whole text is one copy
        steps = [each for each in node.path[-2:] if each.step]
        return [base, _count_units(text[:keep]), _split_pieces(text[keep:], steps), ends]


def _list_ends(messages: Sequence[Mapping[str, str]]) -> list[JSON]:
    """Return the role of each message and the number of characters up to its end."""
    lengths = accumulate(_count_units(message["content"]) for message in messages)
    return [[message["role"], end] for message, end in zip(messages, lengths, strict=True)]


def _measure_common_prefix(first: str, second: str) -> int:
    """Return the number of characters with which both texts begin."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[low:middle] == second[low:middle] else (low, middle - 1)
    return low


def _split_pieces(text: str, steps: Sequence[Node]) -> list[JSON]:
    """Return the pieces of a text, which may hold the texts and observations of these steps."""
    pieces: list[JSON] = [text]
    for node in steps:
        if node.step and len(node.step.text) >= LEAST_COPY:
            pieces = _replace_first(pieces, node.step.text, ["t", node.id])
        if node.execution and len(node.execution.observation) >= LEAST_COPY:
            pieces = _replace_observation(pieces, node)
    return [piece for piece in pieces if piece != ""]


def _replace_first(pieces: Sequence[JSON], part: str, copy: JSON) -> list[JSON]:
    """Return the pieces with the first occurrence of a part in a text replaced by a copy."""
    for place, piece in enumerate(pieces):
        if isinstance(piece, str) and part in piece:
            before, _, after = piece.partition(part)
            return [*pieces[:place], before, copy, after, *pieces[place + 1 :]]
    return list(pieces)


def _replace_observation(pieces: Sequence[JSON], node: Node) -> list[JSON]:
    """Return the pieces with the longest beginning of a node's observation in them replaced by a copy."""
    assert node.execution is not None
    whole = node.execution.observation
    start = len(whole) - len(whole.lstrip())
    low, high = start, len(whole)
    texts = [piece for piece in pieces if isinstance(piece, str)]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if any(whole[start:middle] in text for text in texts) else (low, middle - 1)
    if low - start < LEAST_COPY:
        return list(pieces)
    copy = ["o", node.id, _count_units(whole[:start]), _count_units(whole[:low])]
    return _replace_first(pieces, whole[start:low], copy)


def _count_units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def decode_prompt(
    encoded: Mapping[str, JSON], node_id: str, nodes: Mapping[str, Node], lines: Sequence[str]
) -> list[dict[str, str]]:
    """Return the messages of a node's prompt, as the report's page does. `encoded` are those of a tree by node id."""
    text, ends = _decode_text(encoded, node_id, nodes, lines), encoded[node_id][3]
    starts = [0, *(end for _, end in ends)]
    return [
        {"role": role, "content": _cut_units(text, start, end)}
        for start, (role, end) in zip(starts, ends, strict=False)
    ]


def _decode_text(encoded: Mapping[str, JSON], node_id: str, nodes: Mapping[str, Node], lines: Sequence[str]) -> str:
    base, keep, pieces, _ = encoded[node_id]
    begins = "" if base is None else _cut_units(_decode_text(encoded, base, nodes, lines), 0, keep)
    return begins + "".join(_decode_piece(piece, nodes, lines) for piece in pieces)


def _decode_piece(piece: JSON, nodes: Mapping[str, Node], lines: Sequence[str]) -> str:
    if isinstance(piece, str):
        return piece
    if piece[0] == "l":
        return "\n".join(lines[number] for number in piece[1])
    node = nodes[piece[1]]
    assert node.step is not None and node.execution is not None
    return node.step.text if piece[0] == "t" else _cut_units(node.execution.observation, piece[2], piece[3])


def _cut_units(text: str, start: int, end: int) -> str:
    if text.isascii():
        return text[start:end]
    return text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode("utf-16-le", "surrogatepass")
