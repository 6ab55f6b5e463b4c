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
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import AddedToken, Tokenizer

_TAG = re.compile(
    r"(?=.*\w)(?:<[^<>]+>|\[[^\[\]]+\]|\{[^{}]+\}|<[|｜].*[|｜]>|[◁⟨⟪《【｢「].*[▷⟩⟫》】｣」]|[|｜].+[|｜])", re.DOTALL
)
_HTML = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|s|sub|sup|code|p|br|a|ul|ol|li)>"
)
"""An added token that is not declared special counts as a control token if it looks like a tag, but not of HTML."""


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
        """Return whether a text contains the spelling of a control token, as it is or after normalization."""
        return any(self._spelled.search(text) or self._spelled.search(self._normalize(text)) for text in texts)

    def _normalize(self, text: str) -> str:
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def insert_marks(self, texts: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """Return the texts with a mark in place of each spelling of a control token, and the spelling of each mark."""
        secret = secrets.token_hex(8)  # random, so that no text can contain a mark
        marks: dict[str, str] = {}

        def mark(match: re.Match[str]) -> str:
            return marks.setdefault(match.group(), f"\ue000{secret}:{len(marks)}\ue001")

        marked = [self._spelled.sub(mark, text) for text in texts]
        return marked, {mark_text: spelling for spelling, mark_text in marks.items()}

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
        tokenizer, _, ids = self._literal_tokenizer
        return [ids.get(token, token) for token in tokenizer.encode(text, add_special_tokens=False).ids]

    @cached_property
    def _literal_tokenizer(self) -> tuple[Tokenizer, dict[str, str], dict[int, int]]:
        """A tokenizer for which spellings of control tokens are ordinary text, and placeholders for the tokens.

        The second part maps each spelling to its placeholder, a random text that no message can contain; the third maps
        the ids of this tokenizer that differ to the original's. It is built when the first text contains a spelling.
        """
        description = json.loads(self._tokenizer.to_str())
        ordinary = [token for token in description["added_tokens"] if token["id"] not in self.ids]
        secret = secrets.token_hex(16)
        _hide_tokens(description["model"], {token.content for token in self._control.values()}, secret)
        tokenizer = Tokenizer.from_str(json.dumps({**description, "added_tokens": ordinary}))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        stand_ins: dict[str, str] = {}
        ids: dict[int, int] = {}
        for token in ordinary:
            if (moved_id := tokenizer.token_to_id(token["content"])) is not None:
                ids[moved_id] = token["id"]
        for number, control in sorted(self._control.items()):
            text = f"\ufdd0{secret}:{number}\ufdd1"
            tokenizer.add_tokens([AddedToken(text, lstrip=control.lstrip, rstrip=control.rstrip, normalized=False)])
            stand_ins[control.content] = text
            placeholder_id = tokenizer.token_to_id(text)
            assert placeholder_id is not None, "it was added just now"
            ids[placeholder_id] = number
        return tokenizer, stand_ins, ids


def _hide_tokens(model: dict[str, Any], spellings: set[str], secret: str) -> None:
    """Rename tokens in the vocabulary of a tokenizer's model, so that it finds them in no text.

    Unigram models find every piece of their vocabulary, and others a word that is one. The token for unknown text keeps
    its name.
    """
    vocabulary, unknown = model.get("vocab"), model.get("unk_token")

    def rename(spelling: str) -> str:
        return f"\ufdd0{secret}-{spelling}\ufdd1" if spelling in spellings and spelling != unknown else spelling

    if isinstance(vocabulary, list):  # Unigram: pairs of a piece and its score; the unknown one is given by its place
        place = model.get("unk_id")
        model["vocab"] = [
            [piece if number == place else rename(piece), score] for number, (piece, score) in enumerate(vocabulary)
        ]
    elif isinstance(vocabulary, dict):
        model["vocab"] = {rename(piece): number for piece, number in vocabulary.items()}
        pairs = [(pair, pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in model.get("merges") or ()]
        if pairs:
            model["merges"] = [pair for pair, parts in pairs if not {*parts, "".join(parts)} & (spellings - {unknown})]
