"""Keys in settings are refused by name, never repeated; what looks alike and is none is let through."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest

from codetool.config.overrides import compose_all, quote_value, validate_all
from codetool.credentials.settings_secrets import find_secrets_in_settings
from codetool.errors import ConfigError

SECRET = "canary/4711+abc=xyz"
POLICY = ("policy=openai", "policy.model=m", "prm=none")


def refuse(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("MY_OWN", "another-canary-0815")
    with pytest.raises(ConfigError) as error:
        validate_all(compose_all([*POLICY, *words]))
    message = str(error.value)
    assert "canary" not in message and quote(SECRET, safe="") not in message
    return message


@pytest.mark.parametrize(
    "spelling", [SECRET, quote(SECRET, safe=""), f"Bearer {SECRET}", b64encode(SECRET.encode()).decode()]
)
@pytest.mark.parametrize(
    "setting",
    [
        "policy.extra_body.user", "policy.extra_body.headers.x", "policy.model",
        "logger.wandb.project", "logger.wandb.entity",
        "policy.prompt.instruction", "vllm.arguments", "tools.recordings", "outputs",
    ],
)  # fmt: skip
def test_the_value_of_a_secret_variable_is_refused_in_every_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, spelling: str
) -> None:
    value = quote_value(f"a {spelling} b")
    value = f"[{value}]" if setting in ("vllm.arguments", "tools.recordings") else value
    added = "+" if setting.startswith("policy.extra_body") else ""
    word = f"policy.extra_body={{{setting.split('.')[2]}: {{x: {value}}}}}" if added else f"{setting}={value}"
    message = refuse(monkeypatch, word)
    assert setting.rsplit(".", 1)[0] in message and "OPENAI_API_KEY" in message


def test_a_variable_that_is_named_as_a_keys_counts_and_so_does_an_interpolation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("policy.key_env=MY_OWN", "policy.extra_body={x: '${oc.env:MY_OWN}'}")
    assert "policy.extra_body.x holds the value of the environment variable MY_OWN" in refuse(monkeypatch, *words)


@pytest.mark.parametrize(
    "body",
    [
        "{api_key: canary}", "{Authorization: canary-1}", "{headers: {X-Api-Key: canary}}", "{auth_token: canary}",
        "{key: canary}", "{token: canary}", "{client_secret: canary}", "{a: [{password: canary}]}",
        "{x: 'Bearer canary-0123'}", "{x: sk-proj-canary0123456789abc}", "{x: [ghp_canary0123456789012]}",
    ],
)  # fmt: skip
def test_a_key_among_free_fields_is_refused(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    message = refuse(monkeypatch, f"policy.extra_body={body}")
    assert "policy.extra_body" in message and "is likely to be a key" in message


def test_ordinary_settings_hold_no_secret() -> None:
    environment = {
        "TOKENIZER_PATH": "/models/llama", "OPENAI_API_KEY": "dummy", "MAX_TOKENS": "100000000",
        "KEY_FILE": "./models/abc", "HF_TOKEN": "", "SSH_KEY": "\0" * 9, "API_KEY": "unrelated-value",
    }  # fmt: skip
    settings = {
        "policy": {
            "model": "/models/llama/8b", "key_env": "OPENAI_API_KEY", "base_url": "http://dummy/v1",
            "max_tokens": 100000000,
            "extra_body": {
                "max_tokens": 5, "stop_token_ids": [1], "skip_special_tokens": False, "top_k": 20, "user": "somebody",
                "chat_template_kwargs": {"enable_thinking": False}, "logit_bias": {"50256": -100},
                "task": "token-count",
            },
        },
        "tools": {"secrets": {"a.test": {"env": "TMDB_API_KEY", "header": "Authorization", "format": "Bearer {key}"}}},
    }  # fmt: skip
    assert not list(find_secrets_in_settings(settings, environment))
