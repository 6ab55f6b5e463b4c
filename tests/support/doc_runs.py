"""Run the commands of a page on small limits: a scripted policy, a tiny PRM with random weights, a few tasks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_server import ChatServer, Reply, chat
from doc_commands import LAB, Command
from scripted_policy import ScriptedPolicy
from warm_process import WarmProcess

SMALL = {
    "evaluate": ["limit=1", "logger=none"],
    "collect": ["limit=4", "logger=none"],
    "train": [
        "limit=null", "logger=none", "trainer.precision=32-true", "train.threads=1", "train.max_tokens_per_batch=2000",
        "train.val_fraction=0", "tuning.rank=2",
    ],
    "evaluate_prm": ["limit=2", "logger=none"],
    "serve_prm": ["serve_prm.port=0"],
    "serve_tools": ["serve_tools.port=0"],
}  # fmt: skip
"""What each stage gets besides the words of its command."""
PRINTING = {"--help", "--version", "--cfg"}
SERVERS = ("serve_prm", "serve_tools")
TIMEOUT = 120.0


class PagePolicy(ScriptedPolicy):
    """The scripted policy, with one step for questions of parts that a page begins."""

    async def __call__(self, body: dict[str, Any]) -> Reply:
        if any(query in body["messages"][0]["content"] for query in self.programs):
            return await super().__call__(body)
        step = "##Step 1: answer\nPython Code:\n```python\nprint(12)\n```\n[All Finished]\n"
        return chat(*[step] * body.get("n", 1))


@dataclass(frozen=True)
class PageRun:
    """The commands of one page, which share a folder of results."""

    outputs: Path
    policy: ChatServer
    model: Path
    """Folder of a tiny model, which stands in for the one of a PRM or a policy to train."""

    def run(self, command: Command) -> None:
        """Run a command of CodeTool. Raises AssertionError if it fails."""
        words = self.make_words(command)
        environment = os.environ | command.environment | {"WANDB_MODE": "disabled"}  # tests of tracking look at W&B
        process = WarmProcess([sys.executable, "run.py", *words], environment)
        if {f"stage={name}" for name in SERVERS} & set(words):
            assert "http" in process.first_line(TIMEOUT), f"{command}\n{process.communicate(TIMEOUT)[1]}"
            process.send_signal(signal.SIGINT)
        try:
            _, printed = process.communicate(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            _, printed = process.communicate()
        assert process.returncode == 0, f"{command}\n{' '.join(words)}\n{process.returncode}: {printed[-2000:]}"

    def make_words(self, command: Command) -> list[str]:
        """The words of a command with names of the page replaced by what is there, and with small limits."""
        words = [self._fill_in(word) for word in command.replace(LAB, str(self.outputs.parent / LAB)).arguments]
        if PRINTING & set(words) or words[:1] == ["new"]:
            return words
        stage = next((word.partition("=")[2] for word in words if word.startswith("stage=")), "evaluate")
        added = [*SMALL.get(stage, []), *self._choose_models(stage, words), f"outputs={self.outputs}"]
        if any(word.startswith("logger=") for word in words):
            added.remove("logger=none")
        names = {word.partition("=")[0] for word in added}
        return [*(word for word in words if word.partition("=")[0] not in names), *added]

    def _choose_models(self, stage: str, words: list[str]) -> list[str]:
        """The scripted policy and the tiny PRM, for stages that read them.

        The cells of a sweep and the workers of Ray get a PRM that is ready at once.
        """
        chosen = dict(word.split("=", 1) for word in words if "=" in word)
        models = []
        if ("-m" in words or chosen.get("engine") == "ray") and not chosen.keys() & {"prm", "experiment"}:
            return ["policy=openai", "policy.model=m", f"policy.base_url={self.policy.url}", "prm=random"]
        if stage in ("evaluate", "collect"):
            models += ["policy=openai", "policy.model=m", f"policy.base_url={self.policy.url}"]
        if stage in ("evaluate", "train", "evaluate_prm", "serve_prm") and chosen.get("prm", "smollm2") == "smollm2":
            models += [f"prm.model={self.model}"] + ([] if "prm.path" in chosen else ["prm.path=null"])
        return models

    def _fill_in(self, word: str) -> str:
        """Replace the upper-case names that stand for folders of earlier commands."""
        for stage in ("collect", "evaluate", "sweeps"):
            folders = sorted(self.outputs.glob(f"{stage}/*"), key=lambda folder: folder.stat().st_mtime)
            for name, place in (("FOLDER", 0), ("OTHER", -1)):
                if f"outputs/{stage}/{name}" in word:
                    assert folders, f"{word}: no command before it makes a folder in {stage}"
                    word = word.replace(f"outputs/{stage}/{name}", str(folders[place]))
        if re.search(r"\bADAPTER\b", word):
            [adapter, *_] = self.outputs.glob("train/*/adapter")
            word = word.replace("ADAPTER", str(adapter))
        return word
