"""What a dry run of stage=improve prints: the rounds, their tasks, and what each search is expected to cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codetool.config.override_errors import quote_value
from codetool.stages.improve.improve_job import ImproveJob, invoke_part
from codetool.stages.improve.part_words import Models, Part, use_models
from codetool.stages.improve.rounds import Record
from codetool.stages.load_stages import load_stage


def print_plan(job: ImproveJob, folder: Path, records: Sequence[Record]) -> None:
    """Print the plan and the estimates of the searches of one round.

    Those of the trees are for the first tasks of the split; which ones a round draws changes little. What a training
    costs depends on the trees.
    """
    settings, say = job.settings, job.console.print
    finished = max(len(records) - 1, 0)
    lines = [
        f"rounds: at most {settings.rounds}, finished already: {finished}; fewer if success on dev has not risen for "
        f"{settings.patience}",
        f"tasks: {settings.tasks:,} of {len(job.tasks):,} train tasks a round, {len(job.dev_tasks):,} dev tasks an "
        "evaluation",
        f"results: {folder}",
    ]
    for line in lines:
        say(line, markup=False, highlight=False, soft_wrap=True)
    left = settings.rounds - finished
    models = Models(**{name: folder / path for name, path in records[-1]["models"].items()}) if records else Models()
    collect = [*use_models(job.words.collect, models, is_guided="collect" in job.guided), f"limit={settings.tasks}"]
    _print_part(job, "collect", _place(collect, folder, max(len(records), 1)), f"trees of a round, {left} times:")
    names = "policy and PRM are" if job.trains_prm else "policy is"
    say(f"--- train, {left} times: the {names} trained on the trees of the round", markup=False, highlight=False)
    evaluate = _place(use_models(job.words.evaluate, models, is_guided="evaluate" in job.guided), folder, len(records))
    _print_part(job, "evaluate", evaluate, f"an evaluation on dev, {left + (not records)} times:")


def _place(words: Sequence[str], folder: Path, number: int) -> list[str]:
    """Return the overrides of a part with the folder of its round, whose finished tasks tell what others will cost."""
    return [*words, f"outputs={quote_value(str(folder / f'round-{number}'))}"]


def _print_part(job: ImproveJob, part: Part, words: Sequence[str], title: str) -> None:
    job.console.print(f"--- {part}, {title}", markup=False, highlight=False)
    with invoke_part(part, [*words, "dry_run=true"], job.flags) as (config, choices):
        load_stage(config.stage)(config, choices, job.console)
