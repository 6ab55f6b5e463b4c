"""The overrides by which other commands use the models of a round."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from codetool.config.invocation import name_program
from codetool.config.override_errors import get_key
from codetool.stages.improve.improve_job import ImproveJob
from codetool.stages.improve.rounds import Record


def list_usage(job: ImproveJob, choices: Mapping[str, str], folder: Path, record: Record) -> list[str]:
    """Return the overrides that choose the policy, and the PRM if one was trained, of a round in the stage's folder."""
    words = [*job.flags]
    for group, path in record["models"].items():
        own = (f"{group}.", f"prm_prompt@{group}.", f"policy_prompt@{group}.")
        words_of_group = job.words.train_prm if group == "prm" else job.words.evaluate
        more = [word for word in words_of_group if word.startswith(own) and get_key(word) != f"{group}.path"]
        words += [f"{group}={choices[group]}", f"{group}.path={folder / path}", *more]
    return words


def format_usage(words: Sequence[str]) -> str:
    """Return the command that uses the models, quoted for a shell."""
    return f"{name_program()} {shlex.join(words)}"
