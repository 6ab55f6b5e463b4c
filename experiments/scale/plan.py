"""Predict the wall time and the cost of a large run on several numbers of nodes.

Usage: python experiments/scale/plan.py [--scenario experiments/scale/scenario.yaml] [--seed 0]

The simulator is that of `validation.py`, whose results give the CPU seconds of the host for a step; all other figures
are the assumptions of the scenario. Nodes share nothing but the limit of the tools, of which each has an equal part, so
one node is simulated. Beyond 2,000 tasks a node, tasks are taken to go on at the rate of the middle half of these.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from run_model import ModelServer, Node, Workload, predict_run

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def make_node(settings: Mapping[str, Any], host_seconds: float) -> Node:
    """Return the node of a scenario."""
    servers = {name: ModelServer(**settings[name]) for name in ("policy", "prm")}
    return Node(**{**settings, **servers, "host_seconds": host_seconds})


def plan(scenario: Mapping[str, Any], host_seconds: float, seed: int) -> list[dict[str, Any]]:
    """Return the wall time and cost of each number of nodes, with and without the limit of the tools."""
    workload = Workload(**{name: _to_tuple(value) for name, value in scenario["workload"].items()})
    rows = []
    for nodes in scenario["nodes"]:
        row: dict[str, Any] = {"nodes": nodes}
        for name, limit in (("limited", scenario["tool_calls_per_second"]), ("unlimited", None)):
            share = limit / nodes if limit else None
            node = make_node({**scenario["node"], "tool_calls_per_second": share}, host_seconds)
            found = predict_run(node, workload, -(-scenario["queries"] // nodes), seed)
            usd = found.seconds / 3600 * nodes * scenario["usd_per_node_hour"]
            row[name] = {"hours": round(found.seconds / 3600, 3), "usd": round(usd, 2)}
        rows.append(row)
    return rows


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    """Print and store the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=HERE / "scenario.yaml")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scenario = yaml.safe_load(options.scenario.read_text())
    validation = json.loads((RESULTS / "validation.json").read_text())
    content = {
        "command": "python experiments/scale/plan.py",
        "seed": options.seed,
        "host_seconds_per_step": validation["cpu_seconds_per_step"],
        "scenario": scenario,
        "rows": plan(scenario, validation["cpu_seconds_per_step"], options.seed),
    }
    (RESULTS / "plan.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"        {scenario['tool_calls_per_second']} tool calls a second      any number of tool calls")
    print("nodes      hours       USD           hours       USD")
    for row in content["rows"]:
        limited, free = row["limited"], row["unlimited"]
        print(
            f"{row['nodes']:5} {limited['hours']:10.2f} {limited['usd']:9.0f} {free['hours']:15.2f} {free['usd']:9.0f}"
        )


if __name__ == "__main__":
    main()
