"""Control tokens of a tokenizer, and how a text is tokenised so that it holds none it merely spells.

A tokenizer turns the spelling of a control token, `<|im_end|>` for example, into that token wherever it stands. A step
or a tool's answer that spells one would end its own message and open another. Here control tokens come from the chat
template alone: where a message spells one, the spelling goes through the template as a mark and is tokenised as the
ordinary text that it is. A chat that spells none is tokenised as ever.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from tokenizers import AddedToken, Tokenizer

_TAG = re.compile(r"<[^\s<>]+>|\[[A-Z_/]+\]|<[|｜].*[|｜]>")
_HTML = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|s|sub|sup|code|p|br|a|ul|ol|li)>"
)
"""An added token that is not declared special is a control token if it looks like a tag, but for those of HTML."""
_PRIVATE = range(0xE000, 0xF900)
"""Code points without a meaning, of which those that no message holds serve as marks."""


class ControlTokens:
    """The control tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Read the added tokens: those declared special, and those spelled like a tag."""
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._control = {
            number: token
            for number, token in added.items()
            if token.special or (_TAG.fullmatch(token.content) and not _HTML.fullmatch(token.content))
        }
        self.ids = frozenset(self._control)
        spellings = sorted((token.content for token in self._control.values()), key=lambda each: (-len(each), each))
        self._spelled = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    def are_spelled_in(self, texts: Iterable[str]) -> bool:
        """Whether a text spells a control token, as it stands or after Unicode normalisation."""
        return any(self._spelled.search(text) or self._spelled.search(_normalize(text)) for text in texts)

    def insert_marks(self, texts: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """The texts with a mark in place of each spelling of a control token, and what each mark stands for."""
        begin, end = self._choose_delimiters("".join(texts))
        marks: dict[str, str] = {}

        def mark(found: re.Match[str]) -> str:
            return marks.setdefault(found.group(), f"{begin}{len(marks)}{end}")

        marked = [self._spelled.sub(mark, text) for text in texts]
        return marked, {made: spelling for spelling, made in marks.items()}

    @staticmethod
    def _choose_delimiters(text: str) -> tuple[str, str]:
        """Two characters that the text does not hold. Raises ValueError where it holds every private one."""
        free = [chr(code) for code in _PRIVATE if chr(code) not in text][:2]
        if len(free) < 2:
            raise ValueError("a chat that holds all private characters of Unicode cannot be tokenised safely")
        return free[0], free[1]

    def encode(self, text: str, marks: Mapping[str, str]) -> list[int]:
        """The tokens of a rendered chat: control tokens where it spells them, ordinary ones for what is marked."""
        tokenizer, stand_ins, ids = self._literal_tokenizer
        text = self._spelled.sub(lambda found: stand_ins[found.group()], text)
        text = self.restore_marks(text, marks)
        return [ids.get(token, token) for token in tokenizer.encode(text, add_special_tokens=False).ids]

    def restore_marks(self, text: str, marks: Mapping[str, str]) -> str:
        """The text with what its marks stand for."""
        for mark, spelling in marks.items():
            text = text.replace(mark, spelling)
        return text

    def encode_literally(self, text: str) -> list[int]:
        """The tokens of a text that holds no control token, whatever it spells."""
        if not self.are_spelled_in([text]):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return list(self._literal_tokenizer[0].encode(text, add_special_tokens=False).ids)

    @cached_property
    def _literal_tokenizer(self) -> tuple[Tokenizer, dict[str, str], dict[int, int]]:
        """A tokenizer that takes the spelling of a control token for ordinary text, and stand-ins for the tokens.

        The second part gives the stand-in of each spelling, a text that nobody can know before, the third the control
        token of each stand-in's id. Made when the first text spells a control token.
        """
        described = json.loads(self._tokenizer.to_str())
        for token in described["added_tokens"]:
            token["special"] = token["id"] in self.ids
        made = Tokenizer.from_str(json.dumps(described))
        made.no_truncation()
        made.no_padding()
        made.encode_special_tokens = True
        secret = secrets.token_hex(16)
        stand_ins: dict[str, str] = {}
        ids: dict[int, int] = {}
        for number, token in sorted(self._control.items()):
            text = f"\ufdd0{secret}:{number}\ufdd1"
            made.add_tokens([AddedToken(text, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)])
            stand_ins[token.content] = text
            own = made.token_to_id(text)
            assert own is not None, "it was added just now"
            ids[own] = number
        return made, stand_ins, ids


def _normalize(text: str) -> str:
    return "" if text.isascii() else unicodedata.normalize("NFKC", text)
