"""Draw the search tree of one task of a finished run as an SVG file.

    python experiments/search_tree_picture.py RUN_FOLDER TASK_ID docs/search_tree.svg

Each box is an executed step: the first line of its description, whether it ran (spot), the PRM's score (latent) and
the cumulative reward of the path to it. The chosen path is drawn in colour.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

CHOSEN, RAN, FAILED, INK = "#d7ecd9", "#eef1f5", "#f7dedb", "#22303c"
WIDTH, HEIGHT = 3.1, 1.25  # inches of a box with its margin
CHARACTERS = 34  # of a line in a box


def main() -> None:
    """Read the run folder, draw the tree and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task_id")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    tree = read_line(arguments.folder / "trees.jsonl", arguments.task_id)
    result = read_line(arguments.folder / "results.jsonl", arguments.task_id)
    draw_tree(tree["nodes"], result, arguments.picture)


def read_line(file: Path, task_id: str) -> dict[str, Any]:
    """Return the parsed line of the task in a JSONL file."""
    lines = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    line: dict[str, Any] = next(line for line in lines if line["task_id"] == task_id)
    return line


def draw_tree(nodes: Sequence[Mapping[str, Any]], result: Mapping[str, Any], picture: Path) -> None:
    """Write the tree as SVG: depth from left to right, siblings below each other."""
    positions = place_nodes(nodes)
    depth = max(node["depth"] for node in nodes)
    rows = max(row for _, row in positions.values()) + 1
    plt.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "codetool"})
    figure, axes = plt.subplots(figsize=((depth + 1) * WIDTH, rows * HEIGHT))
    axes.set(xlim=(-0.5, depth + 0.5), ylim=(rows - 0.45, -0.55))
    axes.axis("off")
    chosen = {"0", *result["path"]}
    query = textwrap.fill(f"Query: {result['query']}", CHARACTERS)
    root_row = sum(positions[node["id"]][1] for node in nodes if node["parent"] == "0")
    root = (0.0, root_row / sum(node["parent"] == "0" for node in nodes))
    for node in nodes:
        start = root if node["parent"] == "0" else positions[node["parent"]]
        draw_edge(axes, start, positions[node["id"]], node["id"] in chosen)
    draw_box(axes, root, query, "white", bold=True)
    for node in nodes:
        status = node["execution"]["status"]
        colour = CHOSEN if node["id"] in chosen else RAN if status == "ok" else FAILED
        draw_box(axes, positions[node["id"]], describe_node(node, result), colour)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})


def place_nodes(nodes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return `(depth, row)` of each node: leaves take consecutive rows, a parent is centred on its children."""
    children: dict[str, list[str]] = {}
    depths = {"0": 0} | {node["id"]: node["depth"] for node in nodes}
    for node in nodes:
        children.setdefault(node["parent"], []).append(node["id"])
    rows: dict[str, float] = {}

    def place(name: str) -> float:
        below = [place(child) for child in children.get(name, ())]
        rows[name] = sum(below) / len(below) if below else float(sum(known not in children for known in rows))
        return rows[name]

    place("0")
    return {name: (float(depths[name]), row) for name, row in rows.items() if name != "0"}


def describe_node(node: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return the text in the box of a node."""
    title = next((line for line in str(node["text"]).splitlines() if line.strip()), "").removeprefix("##")
    lines = textwrap.wrap(title, CHARACTERS, max_lines=2, placeholder=" …")
    execution = node["execution"]
    if execution["status"] != "ok":
        outcome = str(execution["error"] or execution["status"]).splitlines()[-1]
    else:
        outcome = "prints " + " ".join(str(execution["observation"]).split())
    lines += textwrap.wrap(outcome, CHARACTERS, max_lines=1, placeholder=" …")
    latent = "–" if node["latent"] is None else f"{node['latent']:.2f}"
    lines.append(f"spot {node['spot']:.0f}   latent {latent}   sum {node['cumulative']:.2f}")
    if node["id"] == (result["path"] or [None])[-1]:
        lines.append("answer: right" if result["success"] else "answer: wrong")
    return "\n".join(lines)


def draw_box(axes: Any, position: tuple[float, float], text: str, colour: str, *, bold: bool = False) -> None:
    """Draw one box around the text, centred at the position."""
    box = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": INK, "linewidth": 0.8}
    weight = "bold" if bold else "normal"
    axes.text(*position, text, ha="center", va="center", fontsize=8, color=INK, weight=weight, bbox=box, zorder=2)


def draw_edge(axes: Any, start: tuple[float, float], end: tuple[float, float], chosen: bool) -> None:
    """Draw a line between two boxes."""
    colour, width = ("#3a8f4d", 2.4) if chosen else ("#9aa5b1", 1.0)
    axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, zorder=1)


if __name__ == "__main__":
    main()
