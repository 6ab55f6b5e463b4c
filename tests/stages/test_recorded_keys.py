"""A recorded setting sends no key of this machine to a host that the command line does not name."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from codetool.errors import ConfigError
from codetool.stages.evaluate.recorded_keys import refuse_foreign_keys

OWN = {
    "prm": {"key_env": "OPENAI_API_KEY", "base_url": None},
    "answer": {"key_env": "OPENAI_API_KEY", "base_url": "https://api.openai.com/v1"},
    "tools": {"secrets": {"api.themoviedb.org": {"env": "TMDB_API_KEY", "header": "Authorization"}}},
}  # fmt: skip
SENT: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "http://127.0.0.1:8000/v1"}}, None),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "http://localhost/v1"}}, None),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "https://api.openai.com/v1"}}, None),
    ({"prm": {"key_env": "NOT_SET", "base_url": "https://evil.example/v1"}}, None),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "https://evil.example/v1"}}, "https://evil.example/v1"),
    (
        {"prm": {"key_env": "OPENAI_API_KEY", "base_url": ["http://localhost/v1", "https://b.evil/v1"]}},
        "https://b.evil",
    ),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "https://localhost@evil.example/"}}, "evil.example"),
    ({"prm": {"key_env": "OPENAI_API_KEY", "base_url": "http://[::1"}}, "http://[::1"),
    ({"answer": {"key_env": "AWS_SECRET_ACCESS_KEY", "base_url": "https://api.openai.com/v1"}}, "AWS_SECRET"),
    ({"tools": {"secrets": {"evil.example": {"env": "OPENAI_API_KEY"}}}}, "evil.example"),
    ({"tools": {"secrets": {"a": {"host": "evil.example:80", "env": "TMDB_API_KEY"}}}}, "evil.example:80"),
    ({"tools": {"tool_proxy": {"url": "http://evil.example/x", "key_env": "TMDB_API_KEY"}}}, "evil.example/x"),
]


@pytest.mark.parametrize(("recorded", "expected"), SENT)
def test_a_key_goes_only_where_the_command_line_sends_it(
    recorded: dict[str, Any], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "TMDB_API_KEY"):
        monkeypatch.setenv(name, "canary-0815")
    monkeypatch.delenv("NOT_SET", raising=False)
    settings = deepcopy(OWN) | recorded
    if expected is None:
        refuse_foreign_keys(settings, OWN, Path("source"))
        return
    with pytest.raises(ConfigError, match="would have the key in") as error:
        refuse_foreign_keys(settings, OWN, Path("source"))
    assert expected in str(error.value) and "canary" not in str(error.value)
