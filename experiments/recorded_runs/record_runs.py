"""Copy what the notebooks about PRMs, sweeps and comparisons read, in a small form without facts of a machine.

The runs are those of these commands, all with the embedded models, in one outputs folder:

    python run.py -m search=greedy search.n=1,2,4 prm=smollm2,random benchmark.split=dev limit=40
    python run.py stage=collect search.n=3 search.depth=2 benchmark.split=dev limit=24
    python run.py stage=evaluate_prm evaluate_prm.runs=[outputs/collect/FOLDER] prm=smollm2

Usage: python experiments/recorded_runs/record_runs.py outputs [--out notebooks/recorded]

It expects one sweep and one result of stage=evaluate_prm in the folder. Trees are kept of the cells with the most
candidates alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from codetool.evaluation.sweep_table import TABLE_FILE, SweepRow, read_sweep_table

SWEEP = "greedy-by-n-prm"
"""Name of the recorded sweep."""
KEPT_OF_SESSION = ("code", "sandbox", "done", "started", "ended")
"""Fields of a session in `provenance.json` that are no facts of a machine."""
MAX_BYTES = 200_000


def main() -> None:
    """Read the outputs folder and write the recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "notebooks/recorded")
    options = parser.parse_args()
    [sweep] = (options.outputs / "sweeps").iterdir()
    [scored] = (options.outputs / "evaluate_prm").iterdir()
    rows = read_sweep_table(sweep)
    largest = max(int(row.options["search.n"]) for row in rows)
    for row in rows:
        assert row.folder is not None, f"{row.options} has no result"
        copy_run(row.folder, options.out / "evaluate", options.outputs, trees=row.options["search.n"] == str(largest))
    write_table(rows, options.out / "sweeps" / SWEEP / TABLE_FILE)
    target = options.out / "evaluate_prm/smollm2"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("steps.jsonl", "metrics.json"):
        shutil.copyfile(scored / name, target / name)
    for file in sorted(options.out.rglob("*")):
        assert not file.is_file() or file.stat().st_size < MAX_BYTES, f"{file} has {file.stat().st_size:,} bytes"


def copy_run(folder: Path, out: Path, outputs: Path, *, trees: bool) -> None:
    """Copy the results of a run, with its settings and what determined it."""
    target = out / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("results.jsonl", *(["trees.jsonl"] if trees else [])):
        shutil.copyfile(folder / name, target / name)
    config = (folder / "config.yaml").read_text(encoding="utf-8").replace(str(outputs), "outputs")
    (target / "config.yaml").write_text(config, encoding="utf-8")
    content = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    command = " ".join(["python run.py", *content["sessions"][0]["command"].split()[2:]])
    content["sessions"] = [
        {"command": command.replace(str(outputs), "outputs"), **{name: session[name] for name in KEPT_OF_SESSION}}
        for session in content["sessions"]
    ]
    (target / "provenance.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_table(rows: Sequence[SweepRow], file: Path) -> None:
    """Write the table of the sweep, with the folders of the cells below `outputs`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {**row.options, "status": row.status, **row.numbers, "folder": f"outputs/evaluate/{row.folder.name}"}
        for row in rows
        if row.folder
    ]
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
