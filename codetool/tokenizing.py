"""Chats as the tokens of a model folder: its chat template and its tokenizer, without importing transformers.

The folder is in Hugging Face format. The same text is what a server makes of the same messages with the same folder.

Limits: `tokenizer.json` must be there, the file of fast tokenizers; templates that call tools are not fed any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from codetool.errors import ConfigError, MissingError
from codetool.prompts import Message


class ChatTokens:
    """The tokenizer and chat template of a model folder."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's small files. Raises MissingError for one that is not there."""
        self._folder = folder
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise MissingError(f"{folder} has no tokenizer.json; save the model's tokenizer there (`save_pretrained`)")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = _special_tokens(folder)
        self._template = _environment().from_string(_template(folder))

    def text(self, messages: Sequence[Message]) -> str:
        """The chat as the model reads it, the assistant's turn begun. Raises ConfigError if the template refuses."""
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, **self._special)
        except TemplateError as error:
            raise ConfigError(f"the chat template of {self._folder} refuses the messages: {error}") from error

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of `text(messages)`."""
        return self.tokens(self.text(messages))

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, none added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def longest_token(self) -> int:
        """Characters of the longest token: so many characters of a text at most are one token."""
        return max(map(len, self._tokenizer.get_vocab(with_added_tokens=True)))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))


def _template(folder: Path) -> str:
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8")
        found = text if name.endswith(".jinja") else json.loads(text).get("chat_template")
        if isinstance(found, list):  # several by name
            found = {each["name"]: each["template"] for each in found}.get("default")
        if found:
            return str(found)
    raise MissingError(f"{folder} has no chat template: put one into chat_template.jinja")


def _special_tokens(folder: Path) -> dict[str, str]:
    """The texts of `bos_token` and its like, which templates use."""
    file = folder / "tokenizer_config.json"
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    texts = {name: _content(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return {name: text for name, text in texts.items() if text is not None}


def _content(token: Any) -> str | None:
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _environment() -> ImmutableSandboxedEnvironment:
    """What chat templates are written for; a file must not run what it likes, so it is sandboxed."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.globals.update(raise_exception=_refuse, strftime_now=lambda form: datetime.now().strftime(form))
    made.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return made


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
