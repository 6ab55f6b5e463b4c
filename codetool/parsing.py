"""What a model wrote → one step of the transcript.

Models drop fences, miscount steps, run on into the next step, think aloud or answer in prose. Whatever comes, a step
comes out: its text is rebuilt in the transcript's own format, and where no code can be found `code` is None, which is
a failed step and not an error.

Limits: a step has one code block; of several the first that says it is Python counts. Lines are the unit, so a marker
inside a string literal of the code is left alone only if something else ends its line.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from codetool.markers import ALL_FINISHED
from codetool.types import Step

# No `\s` at a line's start: it would run over the line's end, and over all blank lines again from each of them.
_THOUGHT = re.compile(r"^[ \t]*<think>.*?(?:</think>|\Z)|\A.*?^[ \t]*</think>", re.DOTALL | re.MULTILINE)
_SPECIAL = re.compile(r"<\|(?:im_end|endoftext|eot_id|end_of_text|end)\|>")
_CLOSING = re.compile(r"\[\s*Step\s*\d+\s*Finished\s*\]", re.IGNORECASE)
_LAST = re.compile(r"(?:#\s*)?\[\s*All\s+Finished\s*\][\s*`.]*$", re.IGNORECASE | re.MULTILINE)
_HEADER = re.compile(
    r"^\s*(?P<mark>#{1,5}\s*|\*\*\s*)?Step\s*(?P<k>\d+)\s*(?:\*\*)?\s*(?P<colon>[:.–-])?\s*(?P<title>.*)$",
    re.IGNORECASE,
)
_CODE_FOLLOWS = re.compile(r"^\W*Python\s+Code\W*$", re.IGNORECASE)
_FENCE = re.compile(r"`+[\w.={}-]*")
_PYTHON = {"", "python", "py", "python3", "tool_code", "code"}


@dataclass
class Section:
    """The lines of one step as the model wrote it: what stood before its code, the code, and its markers."""

    number: int | None = None
    words: list[str] = field(default_factory=list)
    code: str | None = None
    finished: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing but markers was found."""
        return self.number is None and self.code is None and not any(line.strip() for line in self.words)


def parse(raw: str, k: int) -> Step:
    """The step that `raw` holds, numbered k (one-based) whatever number the model gave it. Never raises."""
    sections = [_section(number, lines) for number, lines in _split(_clean(raw))]
    chosen = _choose(sections, k)
    following = sections[sections.index(chosen) + 1 :] if chosen in sections else []
    # `[All Finished]` behind the closing marker, with nothing after it, belongs to the step just closed.
    finished = chosen.finished or bool(following and following[0].empty and following[0].finished)
    return Step(text=_render(chosen, k, finished), code=chosen.code, finished=finished)


def without_thoughts(raw: str) -> str:
    """What a model wrote for others to read: no thoughts in tags, nothing from the first special token on."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return _SPECIAL.split(_THOUGHT.sub("", text), maxsplit=1)[0]


def _clean(raw: str) -> list[str]:
    """The lines without thoughts and special tokens, every closing marker on a line of its own."""
    text = _CLOSING.sub(lambda match: f"\n{match.group()}\n", without_thoughts(raw))
    return _LAST.sub(f"\n{ALL_FINISHED}", text).split("\n")


def _split(lines: Sequence[str]) -> Iterator[tuple[int | None, list[str]]]:
    """The steps among the lines, each with the number of its header; its title becomes its first line."""
    number: int | None = None
    section: list[str] = []
    fenced = False
    for i, line in enumerate(lines):
        header = _HEADER.match(line)
        if _CLOSING.fullmatch(line):
            yield number, section
            number, section, fenced = None, [], False
        elif header and _opens_step(header, lines[i + 1 :], fenced):
            yield number, section
            number, section, fenced = int(header["k"]), [header["title"].strip("* ")], False
        else:
            section.append(line)
            fenced = _fenced_after(line, fenced)
    yield number, section


def _opens_step(header: re.Match[str], rest: Sequence[str], fenced: bool) -> bool:
    """Whether a line like `##Step 2: …` opens a step; inside a fence it may as well be a comment of the code."""
    if not fenced:
        return bool(header["mark"] or header["colon"])
    if not (header["mark"] or "").startswith("##"):
        return False
    fence = next((i for i, line in enumerate(rest) if line.lstrip().startswith("```")), len(rest))
    opens = fence < len(rest) and rest[fence].strip() != "```"
    return opens or any(_CODE_FOLLOWS.match(line) for line in rest[:fence])


def _fenced_after(line: str, fenced: bool) -> bool:
    stripped = line.strip()
    if not stripped.startswith("```"):
        return fenced and not stripped.endswith("```")
    if stripped == "```":
        return not fenced
    return not stripped[3:].endswith("```")


def _section(number: int | None, lines: Sequence[str]) -> Section:
    section = Section(number, finished=any(line.strip() == ALL_FINISHED for line in lines))
    lines = [line for line in lines if line.strip() != ALL_FINISHED]
    blocks = [(not language, start, code) for start, language, code in _blocks(lines) if language in _PYTHON and code]
    if blocks:  # a block without a language may as well be an expected output, if another one says that it is Python
        _, start, section.code = min(blocks)
        section.words = _prose(lines[:start])
        return section
    announced = next((i for i, line in enumerate(lines) if _CODE_FOLLOWS.match(line)), None)
    if announced is not None:
        section.words, section.code = _prose(lines[:announced]), _code(lines[announced + 1 :])
        return section
    title = lines[:1] if number is not None else []
    body = _code(lines[len(title) :])
    if body and _is_program(body):
        section.words, section.code = _prose(title), body
    else:
        section.words = _prose(lines)
    return section


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, str, str | None]]:
    """The fenced blocks: line where each starts, language, code. A block that nobody closed ends with the lines."""
    start: int | None = None
    language = ""
    block: list[str] = []
    for i, line in enumerate(lines):
        stripped = line.strip()
        fence = stripped.startswith("```")
        if start is not None and (fence or stripped.endswith("```")):
            yield start, language, _code(block if fence else [*block, line.rstrip().removesuffix("```")])
            start, block = None, []
            if not fence or stripped == "```":
                continue
        if start is None and fence:
            start, (language, inline) = i, _opening(stripped)
            block = [inline] if inline else []
            if inline.endswith("```"):
                yield start, language, _code([inline.removesuffix("```")])
                start, block = None, []
        elif start is not None:
            block.append(line)
    if start is not None:
        yield start, language, _code(block)


def _opening(fence: str) -> tuple[str, str]:
    """Language and rest of an opening fence: models write code on the same line too."""
    language, _, inline = fence[3:].strip().partition(" ")
    if language.lower() in _PYTHON or not inline:
        return language.lower(), inline
    return "", f"{language} {inline}"


def _code(lines: Sequence[str]) -> str | None:
    """The lines as a program, without fences and surrounding blank lines; None where nothing is left."""
    kept = [line.rstrip() for line in lines if not _FENCE.fullmatch(line.strip())]
    return textwrap.dedent("\n".join(kept)).strip("\n") or None


def _is_program(text: str) -> bool:
    """Whether unannounced text is Python that does something; a lone word parses too and is prose."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    effects = (ast.Import, ast.ImportFrom, ast.Assign, ast.For, ast.While, ast.FunctionDef, ast.With)
    return any(
        isinstance(node, effects) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) for node in body
    )


def _prose(lines: Sequence[str]) -> list[str]:
    return [line.rstrip() for line in lines if line.strip() and not _CODE_FOLLOWS.match(line)]


def _choose(sections: Sequence[Section], k: int) -> Section:
    """Section k, where a model repeated earlier steps; else what it wrote first, preferably code."""
    own = [section for section in sections if section.number == k]
    ordered = [
        *(section for section in own if section.code),
        *own,
        *(section for section in sections if section.code),
        *(section for section in sections if not section.empty),
        *(section for section in sections if section.finished),
        *sections,
    ]
    return ordered[0]


def _render(section: Section, k: int, finished: bool) -> str:
    parts = [f"##Step {k}: " + "\n".join(section.words).strip()]
    if section.code is not None:
        parts += ["Python Code:", "```python", section.code, "```"]
    if finished:
        parts.append(ALL_FINISHED)
    return "\n".join(part.rstrip() for part in parts)
