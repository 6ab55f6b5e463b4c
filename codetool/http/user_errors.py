"""Turn a chat server's permanent refusal into an exception that names the option or variable to change."""

from __future__ import annotations

import re

from codetool.credentials.masking import list_spellings, replace_spellings
from codetool.errors import (
    CodeToolError,
    ConfigError,
    MissingError,
    PromptFilteredError,
    PromptTooLongError,
    UnreachableError,
)
from codetool.http.context_size import is_overflow
from codetool.http.endpoint import Endpoint
from codetool.http.errors_in_success import NoChoiceError
from codetool.http.retry import RetriesExhaustedError
from codetool.http.server_error import ServerError

_UNKNOWN_MODEL = re.compile(
    r"model.{0,80}(not (found|exist|available|valid)|does ?n[o']t exist|is unknown|is invalid)|"
    r"(unknown|invalid|unsupported|no such) model|model_not_found|not a valid model",
    re.IGNORECASE,
)


class NoTextError(UnreachableError):
    """A server answers, but gives no text for one prompt."""


def make_user_error(server: Endpoint, key: str | None, error: ServerError) -> CodeToolError:
    """Return the exception for a request that a retry cannot help; its message never contains the key."""
    address, message = f"{server.base_url} (HTTP {error.status})", mask_key(error.short_message, key)
    if error.is_filtered:
        return PromptFilteredError(f"{address}: {message}")
    if is_overflow(error):
        return PromptTooLongError(f"{address}: {message}")
    if error.needs_payment:
        return CodeToolError(f"{address} asks for payment: {message}")
    if error.status in {401, 403} and key is None:
        name = server.key_env or f"that `{server.group}.key_env=` names"
        return MissingError(f"{address} wants an API key: put it into the environment variable {name}.")
    if error.status in {401, 403}:
        return ConfigError(f"{address} refuses the API key in the environment variable {server.key_env}: {message}")
    if error.status == 404 or _UNKNOWN_MODEL.search(error.message):
        return ConfigError(
            f"{address} has no chat/completions for the model {server.model!r}: {message}. "
            f"Check `{server.group}.model` and `{server.group}.base_url`, which usually ends in /v1."
        )
    if 300 <= error.status < 400:
        return ConfigError(
            f"{address} redirects to {message}, which is not followed, since it would get the key and the prompts. "
            f"If it is the right server, name it with `{server.group}.base_url=`."
        )
    sentence = message if message.endswith((".", "!", "?")) else f"{message}."
    return CodeToolError(
        f"{address} refuses a request for {server.model}: {sentence}{_advise_on_fields(server, error)}"
    )


def make_exhausted_error(server: Endpoint, error: RetriesExhaustedError) -> UnreachableError:
    """Return the exception for a request whose retries are used up."""
    group, tried = server.group, f"in {error.attempts} attempt{'' if error.attempts == 1 else 's'}"
    last = f"the last one, after {error.seconds:.3g} s in all: {error.reason}"
    if isinstance(error.reason, NoChoiceError):
        return NoTextError(
            f"{server.base_url} gave no text for {server.model!r} {tried}; {last}. A server that "
            "answers so mostly filters the prompt, or leaves no tokens for an answer: look into its log, raise "
            f"`{group}.max_tokens` or choose another `{group}.model`; the same command resumes."
        )
    return UnreachableError(
        f"{server.base_url} gave no answer {tried}; {last}. Is "
        f"the server up and not overloaded? `{group}.retries`, `{group}.timeout` and `{group}.concurrency` "
        "set how hard it is tried; the same command resumes."
    )


def _advise_on_fields(server: Endpoint, error: ServerError) -> str:
    """Return the settings that send what the server asks for, after a space; empty if none is known."""
    advice = ""
    if "stream" in error.message and not server.stream:
        advice += f" `{server.group}.stream=true` asks for a stream."
    if "enable_thinking" in error.message and "enable_thinking" not in str(server.extra_body):
        advice += f" `{server.group}.extra_body={{enable_thinking:false}}` switches thinking off."
    return advice


def is_final(error: ServerError) -> bool:
    """Whether all further requests would be refused too, whatever their prompt."""
    if error.is_filtered or is_overflow(error):
        return False
    unknown_model = _UNKNOWN_MODEL.search(error.message) is not None
    return error.needs_payment or error.status in {401, 404} or 300 <= error.status < 400 or unknown_model


def format_error(error: ServerError, key: str | None) -> str:
    """Format the status and the server's shortened message."""
    status = f"HTTP {error.status} " if error.status else ""
    return f"{status}{mask_key(error.short_message, key)}".strip()


def mask_key(text: str, key: str | None) -> str:
    """Return a server's message with the key replaced, in case it repeats it in any spelling."""
    return replace_spellings(text, list_spellings(key), "…") if key else text
