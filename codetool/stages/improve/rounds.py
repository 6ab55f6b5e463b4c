"""Run the rounds of stage=improve. Each part of a round is a run of another stage, in a run folder of its own.

`round-K/collect`, `round-K/train` and `round-K/evaluate` below the stage's folder hold these run folders. Round 0 is
the evaluation of the policy that the command names. A finished round is a line of `rounds.jsonl`, which is written
last; the parts of an unfinished one continue where they were stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from codetool.config.override_errors import get_key, quote_value
from codetool.errors import CodeToolError, ConfigError
from codetool.runs import journal
from codetool.stages.improve import round_metrics
from codetool.stages.improve.improve_job import TARGETS, ImproveJob, invoke_part
from codetool.stages.improve.objective import DATA, list_objective_words, list_recording_words
from codetool.stages.improve.part_words import Models, Part, begin_with, use_models
from codetool.stages.load_stages import load_stage
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.train.train_dataset import NoExamplesError
from codetool.tracking.run_loggers import RunLoggers

ROUNDS_FILE, TASKS_FILE, PARTS_FILE = "rounds.jsonl", "tasks.json", "parts.jsonl"
Record = Mapping[str, Any]


@dataclass
class Rounds:
    """The rounds of one result, as far as they are finished."""

    job: ImproveJob
    folder: Path
    loggers: RunLoggers
    group: str
    """W&B group of the parts' runs."""
    upload: bool = True
    share: Sequence[Path] = ()
    """Folders of other results of stage=improve, whose equal draws are reused."""
    is_quiet: bool = False
    """Whether parts and rounds are not announced, as in a cell of a sweep."""
    records: list[Record] = field(default_factory=list)
    _begun: int | None = None
    """The round whose parts this command has begun to announce."""

    def run_next(self) -> Record:
        """Run the next round, append its line to `rounds.jsonl`, and return it. Raises CodeToolError."""
        record = self._run_round(len(self.records)) if self.records else self._run_first()
        with journal.Journal(self.folder / ROUNDS_FILE) as file:
            file.append(record)
            file.sync()
        self.records.append(record)
        self._log(record, "evaluation", "difference")
        return record

    def _run_first(self) -> Record:
        folder, measured = self._evaluate(0, Models())
        if measured["success"] is None:
            raise ConfigError(f"{folder}: no answer could be checked, so that no round could be told from another.")
        return {"round": 0, "models": {}, "folders": {"evaluate": self._shorten(folder)}, "evaluation": measured}

    def _run_round(self, number: int) -> Record:
        last = self.records[-1]
        models, folders = self._find_models(last), dict[str, str]()
        record: dict[str, Any] = {"round": number, "models": dict(last["models"]), "folders": folders}
        collected, record["collection"] = self._collect(number, models)
        folders["collect"] = self._shorten(collected)
        self._log(record, "collection")
        parts: list[Part] = ["train_prm", "train"] if self.job.trains_prm else ["train"]
        for part in parts:
            if (trained := self._train(part, number, models, collected)) is not None:
                folders[part] = self._shorten(trained.folder)
                record[f"{part.replace('train', 'training')}"] = round_metrics.measure_training(trained.folder)
                record["models"][TARGETS[part]] = self._shorten(_find_model(trained, TARGETS[part]))
        self._log(record, "training", "training_prm")
        if record["models"] == last["models"]:  # nothing was learned, so the evaluation would be the same
            folders["evaluate"], record["evaluation"] = last["folders"]["evaluate"], last["evaluation"]
        else:
            evaluated, record["evaluation"] = self._evaluate(number, self._find_models(record))
            folders["evaluate"] = self._shorten(evaluated)
        record["difference"] = self._compare(folders["evaluate"])
        return record

    def _collect(self, number: int, models: Models) -> tuple[Path, round_metrics.Metrics]:
        drawn = self.job.draw_tasks(number)
        file = self._get_parent(number) / TASKS_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        journal.atomic_write(file, [json.dumps(list(drawn)).encode() + b"\n"])
        own = [*self.job.words.collect, *list_recording_words(self.job.settings)]
        words = use_models(own, models, is_guided="collect" in self.job.guided)
        words.append(f"ids={quote_value(str(file))}")
        outcome = self._run_part("collect", number, words, f"{len(drawn):,} tasks")
        measured = round_metrics.measure_collection(outcome.folder, outcome.tasks)
        return outcome.folder, measured

    def _train(self, part: Part, number: int, models: Models, collected: Path) -> RunOutcome | None:
        """Run a training and return its outcome; None if the round has collected nothing to learn from."""
        settings, target = self.job.settings, TARGETS[part]
        count = DATA[settings.objective] if target == "policy" else "examples"
        folders = [collected]
        if settings.data == "all":
            folders = [*(self.folder / each["folders"]["collect"] for each in self.records[1:]), collected]
        files = [folder for folder in folders if round_metrics.count_data(folder, count)]
        if not files:
            self._say(f"round {number}: no {count} to train the {target} on; it stays as it is")
            return None
        group: Literal["policy", "prm"] = "policy" if target == "policy" else "prm"
        own = self.job.words.get(part)
        if group == "policy":
            own = ["stage=train", *list_objective_words(settings), *own[1:]]
        words = begin_with(own, group, self.job.paths[group], getattr(models, group), settings.start)
        words += [f"train.target={target}", f"train.files=[{','.join(quote_value(str(file)) for file in files)}]"]
        try:
            return self._run_part(
                part, number, words, f"{target} on {len(files)} folder{'s' if len(files) > 1 else ''}"
            )
        except NoExamplesError as error:
            self._say(f"round {number}: the {target} stays as it is: {error}")
            return None

    def _evaluate(self, number: int, models: Models) -> tuple[Path, round_metrics.Metrics]:
        words = use_models(self.job.words.evaluate, models, is_guided="evaluate" in self.job.guided)
        outcome = self._run_part("evaluate", number, words, f"{len(self.job.dev_tasks):,} tasks of dev")
        return outcome.folder, round_metrics.measure_evaluation(outcome.folder, outcome.tasks)

    def _run_part(self, part: Part, number: int, words: Sequence[str], description: str) -> RunOutcome:
        """Run a part of a round, or what is missing of it. Raises CodeToolError if it fails or some of its tasks do."""
        parent = self._get_parent(number)
        finished = self._read_finished(number)
        if is_new := finished.get(part) != list(words):
            is_resumed = finished and self._begun != number
            done = f" (finished already: {', '.join(finished)})" if is_resumed else ""
            self._begun = number
            self._say(f"--- round {number} of {self.job.settings.rounds}: {part}, {description}{done}")
        with invoke_part(part, [*words, *self._place(words, parent)], self.job.flags) as (config, choices):
            shared = [run for other in self.share for run in other.glob(f"{parent.name}/{config.stage}/*")]
            run = load_stage(config.stage)
            cell = {"sweep": self.group, "label": f"round={number}", "upload": self.upload, "share": shared}
            outcome = run(config, choices, self.job.console, **cast(Any, cell))
        if outcome.failed:
            raise CodeToolError(
                f"round {number}, {part}: {outcome.failed} tasks failed internally: {outcome.folder}. The same command "
                "tries these tasks again and goes on."
            )
        if is_new:
            with journal.Journal(parent / PARTS_FILE) as file:
                file.append({"part": part, "words": list(words)})
        return outcome

    def _read_finished(self, number: int) -> dict[str, list[str]]:
        """Return the overrides of the finished parts of a round by the part's name, in the order of their ends."""
        shape = {"part": str, "words": list}
        records = journal.read_records(self._get_parent(number) / PARTS_FILE, shape)
        return {record["part"]: record["words"] for record in records}

    def _place(self, words: Sequence[str], parent: Path) -> list[str]:
        """Return the overrides that put a part's run folder below that of the round, and recorded answers beside it."""
        placed = [f"outputs={quote_value(str(parent))}"]
        if "stage=train" not in words and not any(get_key(word) == "tools.record_to" for word in words):
            record_to = self.job.config.settings["tools"].get("record_to")
            placed.append(f"tools.record_to={quote_value(record_to) if record_to else 'null'}")
        return placed

    def _compare(self, evaluated: str) -> round_metrics.Metrics | None:
        templates = {task.id: task.template for task in self.job.dev_tasks}
        first = self.folder / self.records[0]["folders"]["evaluate"]
        return round_metrics.compare_with_first(self.folder / evaluated, first, templates)

    def _find_models(self, record: Record) -> Models:
        return Models(**{name: self.folder / path for name, path in record["models"].items()})

    def _get_parent(self, number: int) -> Path:
        return self.folder / f"round-{number}"

    def _shorten(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _log(self, record: Record, *blocks: str) -> None:
        """Log what a part has measured as soon as it is known, at the step of the round."""
        measured = {name: record[name] for name in blocks if record.get(name)}
        if values := round_metrics.flatten_metrics(measured):
            self.loggers.log(values, record["round"])

    def _say(self, line: str) -> None:
        if not self.is_quiet:
            self.job.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _find_model(trained: RunOutcome, target: str) -> Path:
    """Return the folder of the model that a training has made."""
    words = [word for word in trained.usage if get_key(word) == f"{target}.path"]
    return Path(words[-1].partition("=")[2])


def find_best(records: Sequence[Record]) -> Record:
    """Return the round with the highest success on dev, the earliest of several."""
    return max(records, key=lambda record: (get_success(record), -record["round"]))


def get_success(record: Record) -> float:
    """Return the success of a round on dev."""
    return float(record["evaluation"]["success"]["value"])


def should_stop(records: Sequence[Record], rounds: int, patience: int) -> str | None:
    """Return why no further round begins, None if one does."""
    if not records:
        return None
    last, best = records[-1]["round"], find_best(records)["round"]
    if last >= rounds:
        return f"all {rounds} rounds are done" if rounds > 1 else "the one round is done"
    if last - best >= patience:
        return f"success on dev has not risen for {last - best} rounds (improve.patience={patience})"
    return None
