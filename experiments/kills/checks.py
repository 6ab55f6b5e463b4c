"""What must hold after a kill, and after the same command has been run again."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from codetool.models.vllm_watchdog import list_descendants

LEFT_OUT = {"seconds", "recorded_at", "started", "ended", "changed"}
"""Fields that differ between two equal runs. The results of this experiment themselves make `changed` true."""
SANDBOX = "sandbox"
"""Field of `metrics.json` with what happened to the sandbox, which a kill of a descendant may add."""
NOT_COMPARED = {"provenance.json", "cells.csv"}
"""`provenance.json` records every command, and `cells.csv` has the seconds of cells."""


def find_orphans() -> list[str]:
    """Return a description of each process below this one that still runs."""
    return [description for process in list_descendants() if (description := _describe_process(process))]


def _describe_process(process: int) -> str | None:
    """Return id, state and command line of a process; None if it has ended, also if nobody has waited for it yet."""
    folder = Path(f"/proc/{process}")
    try:
        state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
    except OSError:
        return None
    return None if state in "ZX" else f"{process} {state} {command}"


def wait_for_orphans(seconds: float) -> list[str]:
    """Return the processes that still run after so many seconds; return early if there are none."""
    deadline = time.monotonic() + seconds
    while (orphans := find_orphans()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return orphans


def summarize_outputs(outputs: Path) -> dict[str, Any]:
    """Return the content of all result files by path: what a repetition must equal. Raises ValueError for damage."""
    return dict(_summarize_files(outputs))


def _summarize_files(outputs: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted(outputs.rglob("*")):
        name = str(file.relative_to(outputs))
        if file.name in NOT_COMPARED or not file.is_file() or "checkpoints" in file.parts:
            continue
        if file.suffix in (".new", ".damaged"):
            raise ValueError(f"{name} was left behind")
        if file.suffix == ".jsonl":
            yield name, _read_journal(file)
        elif file.suffix == ".json":
            yield name, _strip(json.loads(file.read_text()))
        elif file.suffix == ".safetensors":
            yield name, sha256(file.read_bytes()).hexdigest()


def _read_journal(file: Path) -> list[str]:
    """Return the distinct records, sorted, without seconds. Raises ValueError for a line that is torn or damaged."""
    records = set()
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            raise ValueError(f"{file.name}, line {number} is torn")
        records.add(json.dumps(_strip(json.loads(line)), sort_keys=True))
    return sorted(records)


def _strip(value: Any) -> Any:
    """Return the value without the fields that differ between equal runs."""
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if key not in LEFT_OUT}
    return [_strip(item) for item in value] if isinstance(value, list) else value


def find_difference(outputs: dict[str, Any], expected: dict[str, Any], *, sandbox: bool) -> str | None:
    """Return a description of the first file that differs from the undisturbed run's; None if all are equal.

    `sandbox` tells whether to compare what happened to the sandbox too.
    """
    for name in sorted({*outputs, *expected}):
        if not sandbox and name.endswith("metrics.json"):
            outputs.get(name, {}).pop(SANDBOX, None)
        if name not in outputs or name not in expected:
            return f"{name} is {'missing' if name in expected else 'not in the undisturbed run'}"
        if outputs[name] != expected[name]:
            return f"{name} differs: {_describe(outputs[name], expected[name])}"
    return None


def is_equal_answer(answer: Any, expected: Any) -> bool:
    """Compare answers of a server. Which texts share a forward pass changes the last digits of a score."""
    if isinstance(answer, float) and isinstance(expected, float):
        return math.isclose(answer, expected, rel_tol=1e-3, abs_tol=1e-5)
    if isinstance(answer, list) and isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_equal_answer, answer, expected))
    if isinstance(answer, dict) and isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(is_equal_answer(answer[key], expected[key]) for key in answer)
    return bool(answer == expected)


def _describe(value: Any, expected: Any) -> str:
    if isinstance(value, list) and isinstance(expected, list):
        more, fewer = [x for x in value if x not in expected], [x for x in expected if x not in value]
        return f"{len(more)} more, {len(fewer)} fewer; {str((more or fewer or [''])[0])[:300]}"
    if isinstance(value, dict) and isinstance(expected, dict):
        keys = [key for key in {*value, *expected} if value.get(key) != expected.get(key)]
        return ", ".join(f"{key}: {str(value.get(key))[:120]} not {str(expected.get(key))[:120]}" for key in keys[:3])
    return f"{str(value)[:120]} not {str(expected)[:120]}"
