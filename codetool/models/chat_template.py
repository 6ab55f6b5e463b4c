"""Chats as the tokens of a model folder: its chat template and its tokenizer, without importing transformers.

The folder is in Hugging Face format. The same text is what a server makes of the same messages with the same folder,
but for two things. A template that prints the date is given `PROMPT_DATE`, so that a prompt is the same every day. What
a message spells is never a control token, see `codetool.models.control_tokens`.

A template that refuses a system message gets its text at the start of the user's, one that wants the roles to alternate
gets neighbours of one role as one message; scoring, generation, training and serving all come through here.

Limits: `tokenizer.json` must be there, the file of fast tokenizers; templates that call tools are not fed any.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from codetool.errors import ConfigError, MissingError
from codetool.models.control_tokens import ControlTokens
from codetool.prompts.messages import Message, merge_same_roles, merge_system_message

log = logging.getLogger(__name__)

PROMPT_DATE = datetime(2024, 7, 26)
"""The day that chat templates are told it is: the one that Llama 3's templates print where nobody tells them."""
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What rendering a template raises that is wrong or was not made for the messages."""
_PROBE = {role: f"probe-{role}" for role in ("system", "user", "assistant")}


class ChatTokenizer:
    """The tokenizer and chat template of a model folder."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's small files.

        Raises MissingError for one that is not there, ConfigError for a template that takes no user message.
        """
        self._folder = folder
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise MissingError(f"{folder} has no tokenizer.json; save the model's tokenizer there (`save_pretrained`)")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._control = ControlTokens(self._tokenizer)
        self._special = _load_special_tokens(folder)
        self._template = _compile_template(folder)
        self._adapt = self._choose_adapter()

    def render(self, messages: Sequence[Message]) -> str:
        """The chat as the model reads it, the assistant's turn begun. Raises ConfigError if the template refuses."""
        return self._render_checked(self._adapt(messages))

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of `text(messages)`. Control tokens are those of the template, never those a message spells."""
        contents = [message["content"] for message in messages]
        if not self._control.are_spelled_in(contents):
            return self.tokenize(self.render(messages))
        marked, marks = self._control.insert_marks(contents)
        chat = [{**message, "content": content} for message, content in zip(messages, marked, strict=True)]
        return self._control.encode(self.render(chat), marks)

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text of our own, none added; what spells a control token is one."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def longest_token(self) -> int:
        """Characters of the longest token: so many characters of a text at most are one token."""
        return max(map(len, self._tokenizer.get_vocab(with_added_tokens=True)))

    def tokenize_literally(self, text: str) -> list[int]:
        """The tokens of a text of somebody else, none added and none of them a control token."""
        return self._control.encode_literally(text)

    def find_end_of_turn(self) -> int | None:
        """The token that the template ends an assistant's message with, else `eos_token`; None without either."""
        try:
            rendered = self._render_unchecked(self._adapt(_build_probe("user", "assistant")), begun=False)
        except _TEMPLATE_ERRORS:
            rendered = ""
        closing = rendered.rpartition(_PROBE["assistant"])[2]
        ending = [*self.tokenize(closing), *self.tokenize(self._special.get("eos_token", ""))]
        return next((token for token in ending if token in self._control.ids), None)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def _render_checked(self, messages: Sequence[Message]) -> str:
        try:
            return self._render_unchecked(messages)
        except _TEMPLATE_ERRORS as error:
            raise ConfigError(f"the chat template of {self._folder} refuses the messages: {error}") from error

    def _render_unchecked(self, messages: Sequence[Message], *, begun: bool = True) -> str:
        return str(self._template.render(messages=list(messages), add_generation_prompt=begun, **self._special))

    def _choose_adapter(self) -> Callable[[Sequence[Message]], list[Message]]:
        """How messages are put so that the template takes them. Raises ConfigError if it takes no user message."""
        self._render_checked(_build_probe("user"))
        takes_system = self._renders_roles("system", "user")
        if not takes_system:
            log.warning(
                "the chat template of %s takes no system message; its text is put at the start of the user's",
                self._folder,
            )
        alternates = not self._renders_roles("user", "user")

        def adapt(messages: Sequence[Message]) -> list[Message]:
            chat = [dict(each) for each in messages if each["role"] != "system" or each["content"].strip()]
            if not takes_system:
                chat = merge_system_message(chat)
            return merge_same_roles(chat) if alternates else chat

        return adapt

    def _renders_roles(self, *roles: str) -> bool:
        """Whether the template takes a chat of these roles and shows what each says."""
        try:
            rendered = self._render_unchecked(_build_probe(*roles))
        except _TEMPLATE_ERRORS:
            return False
        return all(rendered.count(_PROBE[role]) >= roles.count(role) for role in roles)


def _build_probe(*roles: str) -> list[Message]:
    return [{"role": role, "content": _PROBE[role]} for role in roles]


def _compile_template(folder: Path) -> Any:
    try:
        return _create_environment().from_string(_load_template(folder))
    except TemplateError as error:
        raise ConfigError(f"the chat template of {folder} is not a Jinja template: {error}") from error


def _load_template(folder: Path) -> str:
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


def _load_special_tokens(folder: Path) -> dict[str, str]:
    """The texts of `bos_token` and its like, which templates use."""
    file = folder / "tokenizer_config.json"
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    texts = {
        name: _extract_token_text(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")
    }
    return {name: text for name, text in texts.items() if text is not None}


def _extract_token_text(token: Any) -> str | None:
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _create_environment() -> ImmutableSandboxedEnvironment:
    """What chat templates are written for; a file must not run what it likes, so it is sandboxed."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.globals.update(raise_exception=_raise_template_error, strftime_now=PROMPT_DATE.strftime)
    made.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return made


def _raise_template_error(message: str) -> NoReturn:
    raise TemplateError(message)
