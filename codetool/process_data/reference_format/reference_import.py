"""The reference implementation's process data, read as ours.

    python -m codetool.process_data.reference_format.reference_import FOLDER --out process.jsonl

FOLDER holds `path_scored/*_scored.json`, which tell everything, or else training records in ShareGPT's format
(`rm_train_data/*.json`). `stage=train train.files=[process.jsonl]` and `stage=evaluate_prm` then read the result.

Limits: scored files of the reference do not say what a PRM reads, so it is made of their instruction and our prompt.
Training records know a label alone: their estimate is that label and no step has siblings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.model_types import ProcessExample
from codetool.process_data.examples import save_examples
from codetool.process_data.labels import apply_labels
from codetool.process_data.reference_format.reference_export import ROOT
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.prompts.step_format import format_stop_marker
from codetool.runs.bounded_input import parse_json, parse_yaml, read_text
from codetool.types import Execution, Node, Step, Task

PROMPT = Path(__file__).parents[2] / "conf" / "prm_prompt" / "stepwise.yaml"
STATUSES = {0: "ok", 1: "exception", 2: "tool_failed"}
LABELS = {"yes": True, "no": False}


def read_reference(path: Path, prompt: PRMPrompt, estimate: Literal["hard", "soft"]) -> list[ProcessExample]:
    """The examples of a file, or of all files of a folder in the order of their names.

    Raises MissingError where there is none of them, ConfigError for a file of another format.
    """
    if not path.exists():
        raise MissingError(f"{path} is not there.")
    files = [path] if path.is_file() else sorted(path.rglob("*_scored.json"))
    files = files or [file for file in sorted(path.rglob("*.json")) if _holds_list(file)]
    if not files:
        raise MissingError(f"{path} holds neither *_scored.json nor training records in ShareGPT's format.")
    return [example for file in files for example in _read_file(file, prompt, estimate)]


def _read_file(file: Path, prompt: PRMPrompt, estimate: Literal["hard", "soft"]) -> Sequence[ProcessExample]:
    content = _load_json(file)
    try:
        if isinstance(content, list):
            return [_parse_record(file, number, record) for number, record in enumerate(content, start=1)]
        return apply_labels([*_parse_scored(content, prompt)], estimate)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ConfigError(f"{file} is no file of the reference's: {type(error).__name__} {error}") from error


def _parse_record(file: Path, number: int, record: Mapping[str, Any]) -> ProcessExample:
    """A training record: all that is read before the verdict stands for the step."""
    human, gpt = record["conversations"]
    label = LABELS[gpt["value"].strip().lower()]
    return ProcessExample(
        task_id=f"{file.stem}-{number}",
        node_id="1",
        group="0",
        prefix=({"role": "system", "content": record.get("system", "")}, {"role": "user", "content": ""}),
        step=human["value"],
        executed=label,
        soft=float(label),
        hard=label,
        latent=float(label),
        label=label,
    )


def _parse_scored(content: Mapping[str, Any], prompt: PRMPrompt) -> Iterator[ProcessExample]:
    """The steps of a scored file that have an estimate; labels are still to come."""
    task = Task(str(content["q_id"]), content["query"], ())
    prefixes = content.get("prefixes", {})
    nodes = {ROOT: Node("0")}
    for path in sorted(content["infer_path"], key=lambda path: path["path_name"].count("-")):
        name, parent = path["path_name"], path["path_name"].rpartition("-")[0]
        node = nodes[name] = _make_node(path, nodes[parent], content)
        if "soft_estimate" not in path:
            continue
        assert node.step is not None
        before = prefixes.get(parent) or _make_prefix(content["instruction"], task, nodes[parent], prompt)
        yield ProcessExample(
            task_id=task.id,
            node_id=node.id,
            group=nodes[parent].id,
            prefix=tuple(before),
            step=node.step.text,
            executed=bool(path["current_exec"]),
            soft=float(path["soft_estimate"]),
            hard=bool(path["hard_estimate"]),
            latent=float(path["latent_reward"]),
            label=None,
            multiplicity=path.get("multiplicity", 1),
        )


def _make_node(path: Mapping[str, Any], parent: Node, content: Mapping[str, Any]) -> Node:
    """The last step of a path and what it did."""
    name, text = path["path_name"], path["content"]
    done = content["exec_res"][name]
    before = next((p["content"] for p in content["infer_path"] if p["path_name"] == name.rpartition("-")[0]), "")
    if text.startswith(before) and len(text) > len(before):
        text = text[len(before) :].rstrip().removesuffix(format_stop_marker(parent.depth + 1)).rstrip()
    else:  # a step without code: the reference keeps its text as the result
        text = str(done["res"])
    return Node(
        id=name.removeprefix(f"{ROOT}-"),
        parent=parent,
        depth=parent.depth + 1,
        step=Step(text, None, False),
        execution=Execution(STATUSES[done["status"]], str(done["res"])),  # type: ignore[arg-type]
    )


def _make_prefix(instruction: str, task: Task, parent: Node, prompt: PRMPrompt) -> list[dict[str, str]]:
    """What a PRM reads: ours, with the reference's instruction in front, which holds the documents of the tools."""
    messages = prompt.prefix_messages(task, parent.path)
    messages[-1]["content"] = f"{instruction.strip()}\n\n{messages[-1]['content']}"
    return messages


def _holds_list(file: Path) -> bool:
    return isinstance(_load_json(file), list)


def _load_json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _load_prompt(file: Path) -> PRMPrompt:
    try:
        settings = parse_yaml(read_text(file))
        return PRMPrompt(**{name: value for name, value in settings.items() if name != "_target_"})
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"--prompt {file} is no PRM prompt such as {PROMPT}: {error}") from error


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.process_data.reference_format.reference_import",
        description="Read the CodeTool reference implementation's process data as process.jsonl.",
    )
    parser.add_argument("source", type=Path, metavar="FOLDER", help="its folder, or one of its files")
    parser.add_argument("--out", type=Path, required=True, help="the process.jsonl to write")
    parser.add_argument("--estimate", choices=("soft", "hard"), default="soft", help="what tells siblings apart")
    parser.add_argument("--prompt", type=Path, default=PROMPT, help="YAML of the PRM's prompt")
    arguments = parser.parse_args()
    try:
        examples = read_reference(arguments.source, _load_prompt(arguments.prompt), arguments.estimate)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        save_examples(arguments.out, examples)
    except (CodeToolError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    tasks = len({example.task_id for example in examples})
    print(f"{arguments.out}: {len(examples)} examples of {tasks} tasks")


if __name__ == "__main__":
    main()
