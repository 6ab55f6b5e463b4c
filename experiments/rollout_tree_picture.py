"""Draw the rollout tree of one task of stage=collect as an SVG file, with the estimate and label of each step.

    python experiments/rollout_tree_picture.py RUN_FOLDER TASK_ID docs/figures/rollout_labels.svg

Each box is a distinct step: its description, what it printed, how often it was sampled, the share of successful leaves
below it (soft), its latent reward and its label. Steps with the label "more potential" are green, "less" red.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import search_tree_picture as picture
from matplotlib import pyplot

COLOURS = {True: picture.CHOSEN, False: picture.FAILED, None: picture.RAN}
LABELS = {True: "more potential", False: "less potential", None: "none"}


def main() -> None:
    """Read the run folder, draw the tree and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task_id")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    tree = picture.read_line(arguments.folder / "rollouts.jsonl", arguments.task_id)
    query = picture.read_line(arguments.folder / "results.jsonl", arguments.task_id)["query"]
    lines = (arguments.folder / "process.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [example for example in map(json.loads, lines) if example["task_id"] == arguments.task_id]
    draw_tree(tree["nodes"], tree["outcomes"], {each["node_id"]: each for each in examples}, query, arguments.picture)


def draw_tree(
    nodes: Sequence[Mapping[str, Any]],
    outcomes: Mapping[str, bool],
    examples: Mapping[str, Mapping[str, Any]],
    query: str,
    file: Path,
) -> None:
    """Write the tree as SVG: depth from left to right, siblings below each other."""
    positions = picture.place_nodes(nodes)
    depth, rows = max(node["depth"] for node in nodes), max(row for _, row in positions.values()) + 1
    pyplot.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "codetool"})
    figure, axes = pyplot.subplots(figsize=((depth + 1) * picture.WIDTH, rows * picture.HEIGHT * 1.15))
    axes.set(xlim=(-0.5, depth + 0.5), ylim=(rows - 0.45, -0.55))
    axes.axis("off")
    first_rows = [positions[node["id"]][1] for node in nodes if node["parent"] == "0"]
    root = (0.0, sum(first_rows) / len(first_rows))
    for node in nodes:
        start = root if node["parent"] == "0" else positions[node["parent"]]
        picture.draw_edge(axes, start, positions[node["id"]], outcomes.get(node["id"]) is True)
    picture.draw_box(axes, root, textwrap.fill(f"Query: {query}", picture.CHARACTERS), "white", bold=True)
    for node in nodes:
        example = examples[node["id"]]
        text = describe_node(node, example, outcomes.get(node["id"]))
        picture.draw_box(axes, positions[node["id"]], text, COLOURS[example["label"]])
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})


def describe_node(node: Mapping[str, Any], example: Mapping[str, Any], succeeds: bool | None) -> str:
    """Return the text in the box of a step; `succeeds` is None for a step that is no leaf."""
    title = next((line for line in str(node["text"]).splitlines() if line.strip()), "").removeprefix("##")
    execution = node["execution"]
    ran = execution["status"] == "ok"
    outcome = f"prints {execution['observation'].strip()}" if ran else str(execution["error"] or execution["status"])
    lines = textwrap.wrap(title, picture.CHARACTERS, max_lines=2, placeholder=" …")
    lines.append(outcome if len(outcome) <= picture.CHARACTERS else f"{outcome[: picture.CHARACTERS - 1]}…")
    if succeeds is not None:
        lines.append("leaf: right answer" if succeeds else "leaf: fails")
    lines.append(f"sampled {node['multiplicity']}×   soft {example['soft']:.2f}   latent {example['latent']:.3f}")
    lines.append(f"label: {LABELS[example['label']]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
