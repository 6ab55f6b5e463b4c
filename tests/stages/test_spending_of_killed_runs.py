"""What a killed run has asked is not lost: servers and ledger agree once it has been resumed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from chat_server import Reply
from command_line import CommandLine, read_lines, read_metrics
from scripted_policy import ScriptedPolicy, scripted_server
from warm_process import WarmProcess

from codetool.stages.spent_journal import read_spent

TASKS = 3
PRM_TOKENS = 30


@dataclass
class KillingModels:
    """Policy and PRM behind one server that counts its tokens, and kills the run at some requests to the policy."""

    kill_at: tuple[int, ...]
    """Numbers of the requests to the policy at which the run that asks is killed, unanswered."""
    policy: ScriptedPolicy = field(default_factory=ScriptedPolicy)
    tokens: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    run: WarmProcess | None = None

    async def __call__(self, body: dict[str, Any]) -> Reply:
        if body.get("logprobs"):
            self.tokens.update({"prm in": PRM_TOKENS})
            return score()
        self.asked += 1
        if self.asked in self.kill_at and self.run is not None:
            self.run.kill()
            return Reply(drop=True)
        reply = await self.policy(body)
        usage = reply.body["usage"]
        self.tokens.update({"policy in": usage["prompt_tokens"], "policy out": usage["completion_tokens"]})
        return reply


def score() -> Reply:
    """The answer of a PRM that gives both labels the same probability."""
    top = [{"token": label, "logprob": math.log(0.5)} for label in ("yes", "no")]
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}}
    choice |= {"logprobs": {"content": [{"token": "yes", "top_logprobs": top}]}}
    return Reply(body={"choices": [choice], "usage": {"prompt_tokens": PRM_TOKENS, "completion_tokens": 1}})


@pytest.mark.slow
def test_a_run_that_is_killed_twice_counts_what_it_has_asked_in_all(run: CommandLine) -> None:
    models = KillingModels(kill_at=(2, 5))
    with scripted_server(policy=models) as server:
        words = ["policy=openai", "policy.model=m", f"policy.base_url={server.url}", "benchmark.split=dev"]
        words += [f"limit={TASKS}", "search=greedy", "search.n=3", "concurrency=1", "logger=none", "policy.retries=0"]
        words += ["prm=qwen7b", "prm.backend=endpoint", "prm.model=p", f"prm.base_url={server.url}"]
        for _ in models.kill_at:
            models.run = run.start(*words)
            models.run.communicate(timeout=120)
        models.run = None
        done = run(*words)
    assert done.returncode == 0, done.stderr
    folder = run.folder("tmdb_verified-greedy-openai")
    spent = read_spent(folder)
    assert {"policy in": spent["policy"]["tokens_in"], "policy out": spent["policy"]["tokens_out"]} == {
        name: models.tokens[name] for name in ("policy in", "policy out")
    }
    assert spent["prm"]["tokens_in"] == models.tokens["prm in"]
    ledgers = [line["ledger"] for line in read_lines(folder, "results")]
    assert sum(ledger["tokens_out"] for ledger in ledgers) == models.tokens["policy out"]  # no draw is asked for twice
    lost = models.tokens["prm in"] - sum(ledger["prm_tokens"] for ledger in ledgers)
    assert lost > 0  # scores are asked for again
    assert f"tokens beyond those of the results (attempts that were killed or failed, unused answers): prm {lost}" in (
        done.stdout
    )
    assert read_metrics(folder)["spent"]["run"]["seconds"] > 0
