"""Parse a model's raw output into one step in the step format.

Models drop fences, miscount steps, continue with the next step, reason in tags or answer in prose. The parser always
returns a step: it rebuilds the text in the step format, and `code` is None if there is no code, which counts as a
failed step and is not an error.

Limits: a step has one code block. Of several, the parser takes the one after `Python Code:`, else the first that is
labelled as Python, else the first that has an effect. The others are counted (`Step.unused`) and not run, since a
second block is as often an alternative to the first as its continuation. The parser works on lines, so a marker inside
a string literal of the code is preserved only if other text follows it on the line.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from codetool.prompts.model_text import extract_visible_text
from codetool.prompts.python_syntax import parse_python
from codetool.prompts.step_format import ALL_FINISHED
from codetool.types import Step

_CLOSING = re.compile(r"\[\s*Step\s*\d+\s*Finished\s*\]", re.IGNORECASE)
_DECORATED_CLOSING = re.compile(rf"[*_]{{0,3}}({_CLOSING.pattern})[*_]{{0,3}}", re.IGNORECASE)
_ALL_FINISHED = re.compile(
    r"(?:^[ \t>*_~#`-]+|#[ \t]*|[*_~`]{1,3})?\\?\[[ \t]*All[ \t_]+Finished[ \t]*\\?\]"
    r"(?:</?\w+>|_|[^\w\n\"'()\[\]{}])*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(
    r"^\s*(?P<mark>#{1,5}\s*|\*\*\s*)?Step\s*(?P<k>\d+)\s*(?:\*\*)?\s*(?P<colon>[:.–-])?\s*(?P<title>.*)$",
    re.IGNORECASE,
)
_CODE_FOLLOWS = re.compile(r"^\W*Python\s+Code\W*$", re.IGNORECASE)
_ANNOUNCED_FENCE = re.compile(r"^([^\w\n]*Python[ \t]+Code[^\w\n`~]*)(?=```|~~~)", re.IGNORECASE | re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})(?P<rest>.*)")
_FENCE_LINE = re.compile(r"(?:`+|~{3,})[\w.={}-]*")
_LANGUAGE = re.compile(r"[{.]*([A-Za-z_]+)")
_ATTRIBUTES = re.compile(r"[{]|(?:title|file|filename|name|id|class|linenums|hl_lines|highlight)=")
_PYTHON = {"", "python", "py", "ipython", "tool_code", "code"}
MAX_NESTED_FENCES = 20
"""Maximum number of fences per block that are checked for being inside a string literal of the code."""


@dataclass
class Section:
    """One step as the model wrote it: the text before the code, the code and the markers."""

    number: int | None = None
    words: list[str] = field(default_factory=list)
    code: str | None = None
    finished: bool = False
    unused: int = 0
    """Number of further Python blocks that are not run."""

    @property
    def is_empty(self) -> bool:
        """Whether the section has no text and no code."""
        return self.number is None and self.code is None and not any(line.strip() for line in self.words)


def parse_step(raw: str, k: int) -> Step:
    """Parse the step in `raw` and number it k (one-based), whatever number the model wrote. Never raises."""
    sections = [_parse_section(number, lines) for number, lines in _split_steps(_split_lines(raw))]
    chosen = _select_section(sections, k)
    following = sections[sections.index(chosen) + 1 :] if chosen in sections else []
    # `[All Finished]` behind the closing marker, with nothing after it, belongs to the step just closed.
    finished = chosen.finished or bool(following and following[0].is_empty and following[0].finished)
    return Step(_render_step(chosen, k, finished), chosen.code, finished, unused=chosen.unused)


def _split_lines(raw: str) -> list[str]:
    """Return the visible lines, with each closing marker and each announced fence on its own line."""
    text = _DECORATED_CLOSING.sub(lambda match: f"\n{match[1]}\n", extract_visible_text(raw))
    text = _ANNOUNCED_FENCE.sub(lambda match: f"{match[1]}\n", text)
    return _ALL_FINISHED.sub(f"\n{ALL_FINISHED}", text).split("\n")


def _split_steps(lines: Sequence[str]) -> Iterator[tuple[int | None, list[str]]]:
    """Yield the header number and lines of each step. The header's title becomes the first line."""
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
            fenced = _is_fenced_after(line, fenced)
    yield number, section


def _opens_step(header: re.Match[str], rest: Sequence[str], fenced: bool) -> bool:
    """Return whether a line like `##Step 2: …` opens a step. Inside a fence it may be a comment of the code."""
    if not fenced:
        return bool(header["mark"] or header["colon"])
    if not (header["mark"] or "").startswith("##"):
        return False
    fence = next((i for i, line in enumerate(rest) if _FENCE.match(line)), len(rest))
    opens = fence < len(rest) and bool(rest[fence].strip(" \t`~"))
    return opens or any(_CODE_FOLLOWS.match(line) for line in rest[:fence])


def _is_fenced_after(line: str, fenced: bool) -> bool:
    stripped = line.strip()
    found = _FENCE.match(line)
    if not found:
        return fenced and not stripped.endswith("```")
    if not found["rest"].strip():
        return not fenced
    return not stripped.endswith(found["mark"])


def _parse_section(number: int | None, lines: Sequence[str]) -> Section:
    section = Section(number, finished=any(line.strip() == ALL_FINISHED for line in lines))
    lines = [line for line in lines if line.strip() != ALL_FINISHED]
    blocks = list(_find_blocks(lines))
    programs = [block for block in blocks if block.language in _PYTHON and block.code]
    announced = _find_announcement(lines, blocks)
    if announced is not None:
        block = next((each for each in programs if each.start > announced), None)
        between = lines[announced + 1 : block.start if block else len(lines)]
        unfenced = _find_unfenced_program(between) if block else _drop_fences(between)
        if block is None or unfenced is not None:
            section.words, section.code = _select_prose(lines[:announced]), unfenced
            return section
        programs = [block, *(each for each in programs if each is not block)]
    else:  # a block without a language, or without effects, may as well be an expected output
        programs.sort(key=lambda each: (not each.language, not _is_program(each.code or "")))
    if programs:
        section.words, section.code = _select_prose(lines[: programs[0].start]), programs[0].code
        section.unused = sum(each.language != "" and _is_program(each.code or "") for each in programs[1:])
        return section
    title = lines[:1] if number is not None else []
    body = _drop_fences(lines[len(title) :])
    if body and _is_program(body):
        section.words, section.code = _select_prose(title), body
    else:
        section.words = _select_prose(lines)
    return section


def _find_unfenced_program(lines: Sequence[str]) -> str | None:
    """Return the lines before a block as a program if they have an effect, without a last line like `Output:`."""
    last = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].strip()), 0)
    labelled = bool(lines) and lines[last].rstrip().endswith(":")
    code = _drop_fences(lines[:last] if labelled else lines)
    return code if code and _is_program(code) else None


def _find_announcement(lines: Sequence[str], blocks: Sequence[Block]) -> int | None:
    """Return the index of the first line outside of blocks that announces code, or None."""
    inside = {i for block in blocks for i in range(block.start, block.end)}
    return next((i for i, line in enumerate(lines) if i not in inside and _CODE_FOLLOWS.match(line)), None)


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line, the line after its last, the language in lower case, and the code if any."""

    start: int
    end: int
    language: str
    code: str | None


def _find_blocks(lines: Sequence[str]) -> Iterator[Block]:
    """Yield the fenced blocks. An unclosed block ends with the last line or where another block opens."""
    line = 0
    while line < len(lines):
        fence = _FENCE.match(lines[line])
        if fence is None:
            line += 1
            continue
        block = _parse_block(lines, line, fence, fence["mark"])
        if block is None:
            block = _parse_block(lines, line, fence, fence["mark"][:3]) or _parse_unclosed_block(lines, line, fence)
        yield block
        line = block.end


def _parse_block(lines: Sequence[str], start: int, fence: re.Match[str], mark: str) -> Block | None:
    """Return the block from a fence to the next fence of the same kind and at least its length, or None."""
    language, inline = _parse_opening_fence(fence["rest"].strip())
    content = [inline] if inline else []
    if inline.endswith(mark):
        return Block(start, start + 1, language, _dedent_program([inline.removesuffix(mark)]))
    checks = 0
    for place in range(start + 1, len(lines)):
        line = lines[place]
        found = _FENCE.match(line)
        if found and found["mark"].startswith(mark):
            checks += 1
            if checks <= MAX_NESTED_FENCES and _is_inside_string(content, lines, place + 1):
                content.append(line)
                continue
            return Block(start, place + (not found["rest"].strip()), language, _dedent_program(content))
        if line.rstrip().endswith(mark):
            return Block(start, place + 1, language, _dedent_program([*content, line.rstrip().removesuffix(mark)]))
        content.append(line)
    return None


def _parse_unclosed_block(lines: Sequence[str], start: int, fence: re.Match[str]) -> Block:
    language, inline = _parse_opening_fence(fence["rest"].strip())
    content = [*([inline] if inline else []), *lines[start + 1 :]]
    if content and _FENCE_LINE.fullmatch(content[-1].strip()):  # a closing fence that was cut short
        del content[-1]
    return Block(start, len(lines), language, _dedent_program(content))


def _is_inside_string(code: Sequence[str], lines: Sequence[str], place: int) -> bool:
    """Return whether a triple-quoted string is open after the code and closed in the lines from `place` on."""
    text = "\n".join(code)
    quotes = [each for each in ('"""', "'''") if each in text]
    if not any(each in lines[i] for each in quotes for i in range(place, len(lines))):
        return False
    try:
        list(tokenize.generate_tokens(io.StringIO(textwrap.dedent(text)).readline))
    except tokenize.TokenError as error:
        return "string" in str(error)
    except SyntaxError:
        pass
    return False


def _parse_opening_fence(rest: str) -> tuple[str, str]:
    """Split the text after an opening fence into language and code. Models also write code on that line."""
    word, _, inline = rest.partition(" ")
    found = _LANGUAGE.match(word)
    language = found[1].lower() if found else ""
    if language in _PYTHON or not inline:
        return language, "" if _ATTRIBUTES.match(inline) and not inline.endswith(("```", "~~~")) else inline
    return "", rest


def _dedent_program(lines: Sequence[str]) -> str | None:
    """Return the lines of a block without common indentation and outer blank lines; None if nothing remains."""
    return textwrap.dedent("\n".join(line.rstrip() for line in lines)).strip("\n") or None


def _drop_fences(lines: Sequence[str]) -> str | None:
    """Return lines outside of blocks as a program, without remains of fences."""
    return _dedent_program([line for line in lines if not _FENCE_LINE.fullmatch(line.strip())])


def _is_program(text: str) -> bool:
    """Return whether text is Python with an effect. A single word parses as Python too but is prose."""
    tree = parse_python(text)
    if tree is None:
        return False
    effects = (ast.Import, ast.ImportFrom, ast.Assign, ast.For, ast.While, ast.FunctionDef, ast.With)
    return any(
        isinstance(node, effects) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        for node in tree.body
    )


def _select_prose(lines: Sequence[str]) -> list[str]:
    return [line.rstrip() for line in lines if line.strip() and not _CODE_FOLLOWS.match(line)]


def _select_section(sections: Sequence[Section], k: int) -> Section:
    """Return section k if the model repeated earlier steps, else the first section, preferably one with code."""
    own = [section for section in sections if section.number == k]
    ordered = [
        *(section for section in own if section.code),
        *own,
        *(section for section in sections if section.code),
        *(section for section in sections if not section.is_empty),
        *(section for section in sections if section.finished),
        *sections,
    ]
    return ordered[0]


def _render_step(section: Section, k: int, finished: bool) -> str:
    parts = [f"##Step {k}: " + "\n".join(section.words).strip()]
    if section.code is not None:
        parts += ["Python Code:", "```python", section.code, "```"]
    if finished:
        parts.append(ALL_FINISHED)
    return "\n".join(part.rstrip() for part in parts)
