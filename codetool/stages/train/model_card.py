"""Write the final files of stage=train: metrics, loss curve, and model card with the overrides that use the model."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from codetool.config.invocation import name_program
from codetool.config.override_errors import get_key
from codetool.config.run_config import RunConfig
from codetool.evaluation.charts import Chart, Line, Point, write_chart
from codetool.models.locate import EMBEDDED_MODEL, ModelFolders
from codetool.runs import journal
from codetool.runs.provenance import parse_code_versions
from codetool.stages.train.data_files import DataFile
from codetool.stages.wandb_content import LOSSES, VALIDATIONS
from codetool.types import FigureFormat

METRICS, CURVE, CARD = "metrics.json", "loss", "README.md"
MAX_CHART_POINTS = 400
"""Maximum number of points of the loss curve; more updates are averaged."""
HUB_NAMES = {EMBEDDED_MODEL: ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")}
"""Hub name and licence of models that have another name in CodeTool."""


def name_base_model(config: RunConfig, base_model: ModelFolders) -> str:
    """Return the name of the base model for others: its name on the hub, or its folder."""
    model = _get_model_name(config)
    return str(base_model.base.resolve()) if base_model.local else HUB_NAMES.get(model, (model, ""))[0]


def _get_model_name(config: RunConfig) -> str:
    option: Any = config.prm if config.train.target == "prm" else config.policy
    return str(option.model)


def format_usage(config: RunConfig, choices: Mapping[str, str], overrides: Sequence[str], folder: Path) -> str:
    """Return the words that use the trained model in a folder, quoted for a shell.

    They begin with those of `overrides` that add folders of options, which the words after them may need.
    """
    target = config.train.target
    own = (f"{target}.", f"prm_prompt@{target}.", f"policy_prompt@{target}.")
    more = [override for override in overrides if override.startswith(own) and get_key(override) != f"{target}.path"]
    added = [override for override in overrides if override.startswith(("--config-dir", "hydra.searchpath"))]
    return shlex.join([*added, f"{target}={choices[target]}", f"{target}.path={folder}", *more])


def collect_metrics(folder: Path, counts: Mapping[str, int], weights_step: int) -> dict[str, Any]:
    """Return the content of `metrics.json`, from the journals.

    `weights_step` is the update after which the exported weights were saved. Their metrics are those of the validation
    at it, or of the last one before it.
    """
    losses, validations = (list(journal.read_records(folder / name)) for name in (LOSSES, VALIDATIONS))
    earlier = [line for line in validations if line["step"] <= weights_step]
    validated = max(earlier, key=lambda line: int(line["step"])) if earlier else {}
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "metrics": {name: value for name, value in validated.items() if name != "step"},
        "best_step": validated.get("step"),
        "weights_step": weights_step,
        "loss": sum(line["loss"] for line in tail) / len(tail),
        "updates": len(losses),
        "examples_seen": sum(line["examples"] for line in losses),
        "tokens_seen": sum(line["tokens"] for line in losses),
        "seconds": round(sum(line["seconds"] for line in losses), 1),
        "counts": dict(counts),
    }


def write_metrics(folder: Path, content: Mapping[str, Any], formats: Sequence[FigureFormat]) -> None:
    """Write the figure of the losses in the formats, and then `metrics.json`, whose existence marks a finished run."""
    losses, validations = (list(journal.read_records(folder / name)) for name in (LOSSES, VALIDATIONS))
    write_chart(build_loss_chart(losses, validations), folder, CURVE, formats)
    journal.atomic_write(folder / METRICS, [json.dumps(content, indent=2).encode() + b"\n"])


def build_loss_chart(losses: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]) -> Chart:
    """Return the chart of the loss by update."""
    width = -(-len(losses) // MAX_CHART_POINTS)
    parts = [losses[start : start + width] for start in range(0, len(losses), width)]
    points = [
        Point(
            sum(line["step"] for line in part) / len(part), sum(line["loss"] for line in part) / len(part), None, None
        )
        for part in parts
    ]
    name = "training" if width == 1 else f"training, mean of {width}"
    lines = [Line(name, points, dots=False)]
    if validations:
        validation_points = [Point(line["step"], line["validation_loss"], None, None) for line in validations]
        lines.append(Line("validation", validation_points))
    return Chart(
        title=f"Loss, {len(losses):,} updates",
        x_name="update",
        y_name="loss in nats",
        lines=lines,
        share=False,
    )


def write_card(
    folder: Path,
    config: RunConfig,
    base_model: ModelFolders,
    sources: Sequence[DataFile],
    content: Mapping[str, Any],
    command: str,
    usage: str,
) -> None:
    """Write the model card into the folder of a trained model."""
    name = name_base_model(config, base_model)
    head: dict[str, Any] = {"base_model": name, "tags": ["codetool", config.train.target]}
    if licence := _find_licence(config, base_model.base):
        head["license"] = licence
    adapter = (folder / "adapter_config.json").is_file()
    head["library_name"] = "peft" if adapter else "transformers"
    lines = _build_card(config, name, licence, sources, content, command, usage, folder.name)
    text = f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n" + "\n".join(lines) + "\n"
    journal.atomic_write(folder / CARD, [text.encode()])


def _build_card(
    config: RunConfig,
    base: str,
    licence: str | None,
    sources: Sequence[DataFile],
    content: Mapping[str, Any],
    command: str,
    usage: str,
    kind: str,
) -> Iterator[str]:
    prm = config.train.target == "prm"
    what = {"adapter": "A LoRA adapter (PEFT)", "model": "A whole model", "merged": "A model with its adapter merged"}
    aim = "judges the steps of a program: a process reward model" if prm else "writes programs step by step: a policy"
    yield f"# {kind}: {'PRM' if prm else 'policy'} on {base}\n"
    yield f"{what[kind]} that {aim}. Licence of the base: {licence or 'not stated in its folder'}.\n"
    if prm:
        option: Any = config.prm
        first, second = option.labels
        yield f"Its score is the probability of `{first}` against `{second}` as the next token.\n"
    yield f"Use:\n\n    {name_program()} {usage}\n"
    yield f"Made by {'; '.join(map(str, parse_code_versions(content)))} with:\n\n    {command}\n"
    yield "## Data\n\n| file | use | records | sha256 |\n| --- | --- | --- | --- |"
    for file in sources:
        yield f"| {'/'.join(file.path.parts[-2:])} | {file.use} | {file.lines} | `{file.sha256}` |"
    counts = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in content["counts"].items())
    yield f"\n{counts}\n"
    yield "## Metrics\n"
    yield f"{_describe_validation(content)}\n"
    yield from (f"- {name}: {value:.4f}" for name, value in content["metrics"].items())
    yield f"- training loss at the end: {content['loss']:.4f} nats; {content['updates']:,} updates, "
    yield f"  {content['examples_seen']:,} examples, {content['tokens_seen']:,} tokens, {content['seconds']:,} s\n"
    blocks = ("seed", "train", *(() if prm else ("objective",)), "tuning", "trainer", "optimizer", "scheduler")
    settings = {name: _drop_unset(config.settings[name]) for name in blocks}
    settings["train"] = {k: v for k, v in settings["train"].items() if k not in ("files", "val_files")}
    if prm:
        own = config.settings["prm"]
        settings["prm"] = {name: own[name] for name in ("model", "labels", "prompt") if name in own}
    yield f"## Settings\n\n```yaml\n{yaml.safe_dump(settings, sort_keys=False)}```"


def _describe_validation(content: Mapping[str, Any]) -> str:
    """Return which validation the metrics are of, and which update the weights, if that is another one."""
    if not content["metrics"]:
        return "Nothing was validated."
    step, weights_step = content["best_step"], content.get("weights_step")
    of_weights = "" if weights_step in (None, step) else f"; the weights are those of update {weights_step}"
    return f"Of the validation at update {step}{of_weights}:"


def _drop_unset(settings: Any) -> Any:
    """Return a block of settings without those that are null, which leave the default of a library."""
    return {k: v for k, v in settings.items() if v is not None} if isinstance(settings, Mapping) else settings


def _find_licence(config: RunConfig, base: Path) -> str | None:
    """Return the licence that the base model's folder states, None if it states none."""
    model = _get_model_name(config)
    if model in HUB_NAMES:
        return HUB_NAMES[model][1]
    card = base / "README.md"
    text = card.read_text(errors="replace") if card.is_file() else ""
    match = re.search(r"^license:\s*(\S+)", text, re.MULTILINE)
    return match.group(1) if match else None
