"""Draw up the curve of a PRM's AUROC against the steps of data that it was trained on.

Usage: python experiments/embedded_default/auroc_curve.py --train FOLDER … --test FOLDER … --limits 10 30 100
           [--out outputs/auroc_curve] [WORD …]

`--train` and `--test` are folders of stage=collect. For each limit a PRM is trained on the first so many tasks of the
training data, so that the sets are nested, and scored on all test trees. WORDs are further words of stage=train, such
as `train.loss=pairs`; tasks for the validation are taken from the training data. A table is printed and
`OUT/curve.json` written; `OUT/curve_steps.json` records what each step took. The same command resumes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from step_record import StepRecord

COLUMNS = ("limit", "tasks", "examples", "auroc", "low", "high", "pairwise_accuracy", "selection_regret")


def main() -> None:
    """Train and measure what is not finished, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders to train on")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="folders to measure on")
    parser.add_argument("--limits", type=int, nargs="+", required=True, help="numbers of tasks")
    parser.add_argument("--out", type=Path, default=Path("outputs/auroc_curve"), help="folder for all of it")
    options, words = parser.parse_known_args()
    if bad := [word for word in words if "=" not in word or word.startswith("-")]:
        parser.error(f"{bad[0]} is no setting. Write NAME=VALUE.")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    record = StepRecord(out / "curve_steps.json", {"command": shlex.join(["python", *sys.argv])})
    rows: list[dict[str, Any]] = []
    try:
        for limit in sorted(options.limits):
            rows.append(measure(record, out, limit, options.train, options.test, words))
            (out / "curve.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command continues.")
    print_table(rows)


def measure(
    record: StepRecord, out: Path, limit: int, train: Sequence[Path], test: Sequence[Path], words: Sequence[str]
) -> dict[str, Any]:
    """Return a row of the table: a PRM trained on the first `limit` tasks, measured on the test trees."""
    own = ("stage=train", "prm=smollm2", f"train.files={_list(train)}", f"limit={limit}", f"outputs={out}")
    trained = _run_stage(record, f"train {limit}", (*own, *words))
    seen = [word for word in words if word.startswith("prm")]
    scored = ("stage=evaluate_prm", "prm=smollm2", f"prm.path={trained / 'adapter'}", f"outputs={out}")
    measured = _run_stage(record, f"measure {limit}", (*scored, f"evaluate_prm.runs={_list(test)}", *seen))
    counts = _read(trained)["counts"]
    metrics = _read(measured)["metrics"]
    row = {"limit": limit, "tasks": counts["tasks"], "examples": counts["examples"]}
    row |= {name: metrics.get(name, {}).get("value") for name in ("auroc", "pairwise_accuracy", "selection_regret")}
    return row | {name: metrics.get("auroc", {}).get(name) for name in ("low", "high")}


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a Markdown table."""
    print("\n| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    for row in rows:
        print("| " + " | ".join(_format(row[name]) for name in COLUMNS) + " |")


def _format(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _run_stage(record: StepRecord, name: str, words: Sequence[str]) -> Path:
    """Run a stage and return its folder."""

    def find_folder(lines: Sequence[str]) -> dict[str, str]:
        line = next(line for line in lines if line.startswith("results: ") or " is finished already" in line)
        return {"folder": str(Path(line.removeprefix("results: ").partition(" is finished")[0].strip()).resolve())}

    values = record.run(name, ("run.py", *words), find_folder, lambda values: [Path(values["folder"]) / "metrics.json"])
    return Path(values["folder"])


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def _list(folders: Sequence[Path]) -> str:
    return f"[{','.join(str(folder.resolve()) for folder in folders)}]"


if __name__ == "__main__":
    main()
