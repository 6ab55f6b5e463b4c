"""A command line in a process of its own, and the files it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warm_process import WarmProcess, run_warm

from codetool.runs import journal

ROOT = Path(__file__).parents[2]
WITHOUT_PRM = ("report", "judge", "serve_tools", "compare", "recheck", "dashboard")
"""Stages that do not read `prm=`."""


@dataclass(frozen=True)
class CommandLine:
    """`python run.py` with its outputs in a folder of the test's own, without a PRM unless the words name one."""

    outputs: Path

    def command(self, *words: str) -> list[str]:
        chosen = any(
            word.startswith(("prm=", "experiment=")) or word.removeprefix("stage=") in WITHOUT_PRM for word in words
        )
        return [sys.executable, "run.py", f"outputs={self.outputs}", *([] if chosen else ["prm=none"]), *words]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_warm(self.command(*words))

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> WarmProcess:
        """The command while it runs, to be stopped or looked into."""
        return WarmProcess(self.command(*words), environment)

    def start_cold(self, *words: str) -> subprocess.Popen[str]:
        """The same in a new interpreter, which imports everything first: what a user's shell starts."""
        return subprocess.Popen(
            self.command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def folder(self, name: str) -> Path:
        """The one run folder whose name starts so."""
        [folder] = self.outputs.glob(f"evaluate/{name}*")
        return folder


def read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(journal.read_records(folder / f"{name}.jsonl"))


def strip_seconds(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Result or tree lines without seconds, in order of their tasks: what a repetition must equal."""
    return sorted((_without_seconds(record) for record in records), key=lambda record: str(record["task_id"]))


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("seconds", "component_seconds")
        return {key: _without_seconds(item) for key, item in value.items() if key not in timed}
    return [_without_seconds(item) for item in value] if isinstance(value, list) else value


def read_metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content
