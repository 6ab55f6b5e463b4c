"""Find the control tokens of a tokenizer, and tokenize text so that spellings of control tokens stay ordinary text.

A tokenizer turns every spelling of a control token, for example `<|im_end|>`, into that token. A step or a tool's
output that contains such a spelling would end its own message and start another. Here, only the chat template produces
control tokens: a spelling in a message is replaced by a mark before the template is rendered, and is tokenized as
ordinary text afterwards. A chat without such spellings is tokenized the usual way.
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
"""An added token that is not declared special counts as a control token if it looks like a tag, but not of HTML."""
_PRIVATE = range(0xE000, 0xF900)
"""Code points of Unicode's private use area; those that no message contains delimit marks."""


class ControlTokens:
    """The control tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Collect the control tokens: added tokens that are declared special or look like a tag."""
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._control = {
            number: token
            for number, token in added.items()
            if token.special or (_TAG.fullmatch(token.content) and not _HTML.fullmatch(token.content))
        }
        self.ids = frozenset(self._control)
        spellings = sorted(
            (token.content for token in self._control.values()), key=lambda spelling: (-len(spelling), spelling)
        )
        self._spelled = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    def are_spelled_in(self, texts: Iterable[str]) -> bool:
        """Return whether a text contains the spelling of a control token, as it is or after Unicode normalization."""
        return any(self._spelled.search(text) or self._spelled.search(_normalize(text)) for text in texts)

    def insert_marks(self, texts: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """Return the texts with a mark in place of each spelling of a control token, and the spelling of each mark."""
        begin, end = self._choose_delimiters("".join(texts))
        marks: dict[str, str] = {}

        def mark(match: re.Match[str]) -> str:
            return marks.setdefault(match.group(), f"{begin}{len(marks)}{end}")

        marked = [self._spelled.sub(mark, text) for text in texts]
        return marked, {mark_text: spelling for spelling, mark_text in marks.items()}

    @staticmethod
    def _choose_delimiters(text: str) -> tuple[str, str]:
        """Return two private characters that the text does not contain. Raises ValueError if there are none."""
        free = [chr(code) for code in _PRIVATE if chr(code) not in text][:2]
        if len(free) < 2:
            raise ValueError("a chat that holds all private characters of Unicode cannot be tokenised safely")
        return free[0], free[1]

    def encode(self, text: str, marks: Mapping[str, str]) -> list[int]:
        """Return the tokens of a rendered chat: spellings become control tokens, marks become ordinary text."""
        tokenizer, stand_ins, ids = self._literal_tokenizer
        text = self._spelled.sub(lambda match: stand_ins[match.group()], text)
        text = self.restore_marks(text, marks)
        return [ids.get(token, token) for token in tokenizer.encode(text, add_special_tokens=False).ids]

    def restore_marks(self, text: str, marks: Mapping[str, str]) -> str:
        """Return the text with every mark replaced by the spelling for which it stands."""
        for mark, spelling in marks.items():
            text = text.replace(mark, spelling)
        return text

    def encode_literally(self, text: str) -> list[int]:
        """Return the tokens of a text; none is a control token, even if the text contains a spelling of one."""
        if not self.are_spelled_in([text]):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return list(self._literal_tokenizer[0].encode(text, add_special_tokens=False).ids)

    @cached_property
    def _literal_tokenizer(self) -> tuple[Tokenizer, dict[str, str], dict[int, int]]:
        """A tokenizer for which spellings of control tokens are ordinary text, and placeholders for the tokens.

        The second part maps each spelling to its placeholder, a random text that no message can contain; the third maps
        each placeholder's id to the control token. It is built when the first text contains a spelling.
        """
        description = json.loads(self._tokenizer.to_str())
        for token in description["added_tokens"]:
            token["special"] = token["id"] in self.ids
        tokenizer = Tokenizer.from_str(json.dumps(description))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        secret = secrets.token_hex(16)
        stand_ins: dict[str, str] = {}
        ids: dict[int, int] = {}
        for number, token in sorted(self._control.items()):
            text = f"\ufdd0{secret}:{number}\ufdd1"
            tokenizer.add_tokens([AddedToken(text, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)])
            stand_ins[token.content] = text
            placeholder_id = tokenizer.token_to_id(text)
            assert placeholder_id is not None, "it was added just now"
            ids[placeholder_id] = number
        return tokenizer, stand_ins, ids


def _normalize(text: str) -> str:
    return "" if text.isascii() else unicodedata.normalize("NFKC", text)
