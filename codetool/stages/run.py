"""One run from settings to result files: its folder, its log, the stage, the summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from codetool import journal
from codetool.config import RunConfig
from codetool.evaluation.summary import as_json, summarise
from codetool.identity import identity
from codetool.stages import run_folder
from codetool.stages.evaluate import TASK_LOG, evaluate
from codetool.stages.summary import show
from codetool.types import Task

log = logging.getLogger("codetool")


def run(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """The number of tasks that failed for our own reasons, after every task asked for has been run.

    `choices` names the option of each group; with the identity they name the folder,
    `<benchmark>-<search>-<policy>-<prm>-<hash8>`. Raises CodeToolError.
    """
    tasks = config.benchmark.tasks()[: config.limit]
    checksums = _checksums(config)
    names = [choices[group] for group in ("benchmark", "search", "policy", "prm")]
    base = config.outputs / config.stage / "-".join([*names, identity(config.settings, checksums)])
    path = run_folder.choose(base, config.fresh)
    if config.dry_run:
        _announce(choices, tasks, path, run_folder.done_in(path), console)
        return 0
    with run_folder.open_folder(path) as folder, _logging(path / "log.txt", console):
        _announce(choices, tasks, path, folder.done, console)
        if any(task.id not in folder.done for task in tasks):
            journal.replace(path / "config.yaml", [_config_file(config, checksums).encode()])
            evaluate(config, folder, tasks, console)
        return _conclude(path, tasks, config)


def _checksums(config: RunConfig) -> dict[str, str]:
    """Hex sha256 of the data that the result depends on."""
    checksums = {"benchmark": config.benchmark.checksum()}
    if (policy := config.policy.checksum()) is not None:
        checksums["policy"] = policy
    if config.tools.replica is not None:
        checksums["replica"] = config.tools.replica.checksum()
    for file in config.tools.recordings:
        if file.is_file():  # a missing one is reported when the broker opens it
            checksums[f"recording {file.name}"] = sha256(file.read_bytes()).hexdigest()
    return checksums


def _config_file(config: RunConfig, checksums: Mapping[str, str]) -> str:
    """The resolved settings, below what else determines the result."""
    rest = {"codetool": version("codetool"), **{f"sha256 of {name}": value for name, value in checksums.items()}}
    head = "".join(f"# {name}: {value}\n" for name, value in rest.items())
    return head + yaml.safe_dump(config.settings, sort_keys=False)


def _announce(
    choices: Mapping[str, str], tasks: Sequence[Task], path: Path, done: Mapping[str, Any], console: Console
) -> None:
    words = ("benchmark", "search", "policy", "prm", "reward")
    console.print(" ".join(f"{word}={choices[word]}" for word in words), highlight=False)
    finished = sum(task.id in done for task in tasks)
    console.print(f"tasks: {len(tasks)}, done already: {finished}", highlight=False)
    console.print(f"results: {path}", highlight=False, soft_wrap=True)


def _conclude(path: Path, tasks: Sequence[Task], config: RunConfig) -> int:
    """Write `metrics.json`, print the summary, and count the tasks that failed for our own reasons."""
    templates = {task.id: task.template for task in tasks}
    lines = [line for line in journal.read(path / "results.jsonl") if line["task_id"] in templates]
    summary = summarise(lines, len(tasks), seed=config.seed, templates=templates)
    journal.replace(path / "metrics.json", [json.dumps(as_json(summary), indent=2).encode() + b"\n"])
    show(summary, path, Console())
    return len(summary.failures)


class _ConsoleHandler(logging.Handler):
    """Prints messages without tearing the progress bar; tracebacks stay in the file."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        colour = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(record.getMessage(), style=colour, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _logging(file: Path, console: Console) -> Iterator[None]:
    """Our log goes to `log.txt` and, in short, to the console while the run lasts."""
    to_console = _ConsoleHandler(console)
    to_console.addFilter(lambda record: record.name != TASK_LOG)
    handlers: list[logging.Handler] = [logging.FileHandler(file, encoding="utf-8"), to_console]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.setLevel(logging.INFO)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
