"""Render and tokenize chats with the chat template and tokenizer of a model folder, without importing transformers.

The folder is in Hugging Face format. The rendered text equals that of a server with the same folder, except for two
things: a template that prints the date gets `PROMPT_DATE`, so that prompts do not change from day to day; and text in a
message never becomes a control token, see `codetool.models.control_tokens`.

If a template refuses system messages, their text is put at the start of the user's message. If it requires alternating
roles, consecutive messages of one role are merged. Scoring, generation, training and serving all use this module.

Limits: the folder must have a `tokenizer.json` (a fast tokenizer); tools are not passed to templates.
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
from tokenizers import Tokenizer

from codetool.errors import ConfigError, MissingError
from codetool.models.control_tokens import ControlTokens
from codetool.prompts.jinja import TEMPLATE_ERRORS
from codetool.prompts.messages import Message, merge_same_roles, merge_system_message
from codetool.prompts.template_sandbox import BoundedEnvironment, limit_rendering

log = logging.getLogger(__name__)

PROMPT_DATE = datetime(2024, 7, 26)
"""The date that chat templates get as today's; Llama 3's templates print it by default."""
_PROBE = {role: f"probe-{role}" for role in ("system", "user", "assistant")}


class ChatTokenizer:
    """The tokenizer and chat template of a model folder."""

    def __init__(self, folder: Path, variables: Mapping[str, Any] | None = None) -> None:
        """Load the tokenizer and the template; `variables` are given to the template too, such as `enable_thinking`.

        Raises MissingError for a missing file, and ConfigError for a template that does not accept a user message.
        """
        self._folder, self._variables = folder, dict(variables or {})
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise MissingError(f"{folder} has no tokenizer.json; save the model's tokenizer there (`save_pretrained`)")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._control = ControlTokens(self._tokenizer)
        self._special = _load_special_tokens(folder)
        source = _load_template(folder)
        self._template = _compile_template(source, folder)
        self.prints_date = "strftime_now" in source
        """Whether the template may print the date of the day."""
        self._adapt = self._choose_adapter()

    def render(self, messages: Sequence[Message]) -> str:
        """Return the text of the chat up to the start of the assistant's turn.

        Raises ConfigError if the template refuses the messages.
        """
        return self._render_checked(self._adapt(messages))

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of `render(messages)`; only the template's text becomes control tokens, not a message's."""
        contents = [message["content"] for message in messages]
        if not self._control.are_spelled_in(contents):
            return self.tokenize(self.render(messages))
        marked, marks = self._control.insert_marks(contents)
        chat = [{**message, "content": content} for message, content in zip(messages, marked, strict=True)]
        return self._control.encode(self.render(chat), marks)

    def spells_control_token(self, messages: Sequence[Message]) -> bool:
        """Whether a message contains the spelling of a control token, which other tokenizers turn into that token."""
        return self._control.are_spelled_in(message["content"] for message in messages)

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a trusted text: spellings of control tokens become control tokens; nothing is added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def longest_token(self) -> int:
        """Number of characters of the longest token, an upper bound on characters per token."""
        return max(map(len, self._tokenizer.get_vocab(with_added_tokens=True)))

    def tokenize_literally(self, text: str) -> list[int]:
        """Return the tokens of an untrusted text: none of them is a control token; nothing is added."""
        return self._control.encode_literally(text)

    def find_end_of_turn(self) -> int | None:
        """Return the token with which the template ends an assistant message, else `eos_token`; None without either."""
        try:
            rendered = self._render_unchecked(
                self._adapt(_build_probe("user", "assistant")), add_generation_prompt=False
            )
        except TEMPLATE_ERRORS:
            rendered = ""
        closing = rendered.rpartition(_PROBE["assistant"])[2]
        ending = [*self.tokenize(closing), *self.tokenize(self._special.get("eos_token", ""))]
        return next((token for token in ending if token in self._control.ids), None)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special tokens included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def _render_checked(self, messages: Sequence[Message]) -> str:
        try:
            return self._render_unchecked(messages)
        except TEMPLATE_ERRORS as error:
            raise ConfigError(f"the chat template of {self._folder} refuses the messages: {error}") from error

    def _render_unchecked(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        with limit_rendering():
            return str(
                self._template.render(
                    **self._variables,
                    **self._special,
                    messages=list(messages),
                    add_generation_prompt=add_generation_prompt,
                )
            )

    def _choose_adapter(self) -> Callable[[Sequence[Message]], list[Message]]:
        """Return a function that adapts messages to what the template supports.

        Raises ConfigError if the template does not accept a user message.
        """
        self._render_checked(_build_probe("user"))
        takes_system = self._renders_roles("system", "user")
        if not takes_system:
            log.warning(
                "the chat template of %s takes no system message; its text is put at the start of the user's",
                self._folder,
            )
        alternates = not self._renders_roles("user", "user")

        def adapt(messages: Sequence[Message]) -> list[Message]:
            chat = [dict(message) for message in messages if message["role"] != "system" or message["content"].strip()]
            if not takes_system:
                chat = merge_system_message(chat)
            return merge_same_roles(chat) if alternates else chat

        return adapt

    def _renders_roles(self, *roles: str) -> bool:
        """Return whether the template accepts a chat of these roles and renders every message."""
        try:
            rendered = self._render_unchecked(_build_probe(*roles))
        except TEMPLATE_ERRORS:
            return False
        return all(rendered.count(_PROBE[role]) >= roles.count(role) for role in roles)


def _build_probe(*roles: str) -> list[Message]:
    return [{"role": role, "content": _PROBE[role]} for role in roles]


def _compile_template(source: str, folder: Path) -> Any:
    try:
        with limit_rendering():
            return _create_environment().from_string(source)
    except TemplateError as error:
        raise ConfigError(f"the chat template of {folder} is not a Jinja template: {error}") from error


def _load_template(folder: Path) -> str:
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8")
        template = text if name.endswith(".jinja") else json.loads(text).get("chat_template")
        if isinstance(template, list):  # several by name
            template = {entry["name"]: entry["template"] for entry in template}.get("default")
        if template:
            return str(template)
    raise MissingError(f"{folder} has no chat template: put one into chat_template.jinja")


def _load_special_tokens(folder: Path) -> dict[str, str]:
    """Return the texts of `bos_token` and other special tokens that templates use."""
    file = folder / "tokenizer_config.json"
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    texts = {
        name: _extract_token_text(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")
    }
    return {name: text for name, text in texts.items() if text is not None}


def _extract_token_text(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def _create_environment() -> BoundedEnvironment:
    """Return the Jinja environment for which chat templates are written, sandboxed since templates are untrusted.

    Names that are not given stay undefined, as in transformers: templates test them, `{% if tools %}`.
    """
    environment = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals.update(raise_exception=_raise_template_error, strftime_now=PROMPT_DATE.strftime)
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return environment


def _raise_template_error(message: str) -> NoReturn:
    raise TemplateError(message)
