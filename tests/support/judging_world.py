"""A judge with short prompts, and answers for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chat_server import Reply, chat

from codetool.judges.cases import JudgeInput, TraceStep
from codetool.judges.endpoint_judge import OpenAIJudge

ANN = JudgeInput("t1", "Who?", "Ann", (("find", "finds people"),), (TraceStep("look", "find('Ann')", "Ann, 40"),))
NEVER = JudgeInput("t2", "When?", "never")
NOTHING = JudgeInput("t3", "Why?", "")


def judge(url: str, **changes: object) -> OpenAIJudge:
    defaults = {
        "model": "m",
        "base_url": url,
        "key_env": None,
        "votes": 1,
        "temperature": 0.0,
        "max_tokens": 8,
        "prompt": "JUDGE {{ query }} {{ answer }}",
        "second_look": None,
        "pairwise": "COMPARE {{ query }} 1. {{ first }} 2. {{ second }}",
        "max_observation_chars": 5,
        "concurrency": 4,
        "timeout": 5.0,
        "retries": 1,
        "backoff": 0.01,
        "stream": False,
        "extra_body": {},
        "usd_per_million_in": None,
        "usd_per_million_out": None,
    }
    return OpenAIJudge(**{**defaults, **changes})  # type: ignore[arg-type]


def asked(body: dict[str, Any]) -> str:
    """What a request asks."""
    return str(body["messages"][0]["content"])


def saying(say: Callable[[str], str]) -> Callable[[dict[str, Any]], Reply]:
    """A server that answers by what it is asked."""
    return lambda body: chat(say(asked(body)))
