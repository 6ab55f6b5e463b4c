"""Table of faults: whether a run with spoiled answers equals the same run without any, and how long it takes.

Usage: python experiments/faults/fault_table.py [--tasks 8] [--all-tasks 200] [--seed 0] [--services policy tools]
       [--together all prm_endpoint simulator]

For each service and kind of fault, 40 % of the attempts of its requests fail with this kind. In the last rows, 20 % of
the attempts of all requests to all services fail, with any kind. At most three attempts of a request fail in a row; a
time-out is 0.5 s. Models and tools are stand-ins (`stand_in_services.py`) behind a proxy (`fault_proxy.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fault_proxy import ANY_KINDS, CHOICE_KINDS
from fault_stack import SERVICES, FaultRun, FaultStack, find_differences, open_stack

RESULTS = Path(__file__).parent / "results"
KIND_RATE, ALL_RATE = 0.4, 0.2
FAILING_TOGETHER = {
    "all": "policy, prm, tools, judge, answer",
    "prm_endpoint": "policy, prm_endpoint, tools",
    "simulator": "policy, prm, simulator",
}
"""Services of the runs all of whose services fail, by the service that chooses the run's settings."""


@dataclass(frozen=True)
class Row:
    """One run with faults, compared with the same run without them."""

    service: str
    kind: str
    tasks: int
    requests: int
    """Requests to the services that fail, without repeated ones."""
    injected: int
    """Spoiled answers."""
    retried: int
    """Failed attempts that the run counted; late answers of a busy machine are among them."""
    given_up: int
    equal: bool
    """Whether journals and metrics are equal but for seconds."""
    differences: list[str]
    time_ratio: float
    """Seconds of the run with faults by those of the run without, or of the mean of two of them."""


def main() -> None:
    """Print the table and store it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=8, help="tasks of a run with one kind of fault")
    parser.add_argument("--all-tasks", type=int, default=200, help="tasks of a run with all faults")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--services", nargs="*", choices=SERVICES, default=SERVICES)
    parser.add_argument("--together", nargs="*", choices=FAILING_TOGETHER, default=list(FAILING_TOGETHER))
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    options = parser.parse_args()
    rows: list[Row] = []
    load = os.getloadavg()[0]
    with open_stack(options.seed) as stack, tempfile.TemporaryDirectory() as folder:
        stack.run(Path(folder) / "first", "policy", 1)  # imports take seconds once
        for service in options.services:
            rows += measure_service(stack, Path(folder), service, options.tasks)
        for service in options.together:
            rows.append(measure_all(stack, Path(folder), service, options.all_tasks))
            print_row(rows[-1])
    command = ["python", "experiments/faults/fault_table.py", *sys.argv[1:]]
    content = {
        "command": " ".join(command),
        "seed": options.seed,
        "load_average_before": round(load, 1),
        "rows": [asdict(row) for row in rows],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n")


def measure_service(stack: FaultStack, folder: Path, service: str, tasks: int) -> list[Row]:
    """Return a row for each kind of fault of one service."""
    kinds = [*ANY_KINDS, *(CHOICE_KINDS if service == "policy" else ())]
    stack.reset({})
    clean = stack.run(folder / service / "clean", service, tasks)
    requests, rows = stack.proxies[service].requests, []
    for kind in kinds:
        stack.reset({service: KIND_RATE})
        stack.proxies[service].kinds = (kind,)
        faulty = stack.run(folder / service / kind, service, tasks)
        injected = stack.proxies[service].injected.total()
        rows.append(make_row(service, kind, tasks, requests, injected, clean, faulty))
        print_row(rows[-1])
    stack.proxies[service].kinds = (*ANY_KINDS, *CHOICE_KINDS)
    return rows


def measure_all(stack: FaultStack, folder: Path, service: str, tasks: int) -> Row:
    """Return the row of a run all of whose services fail, between two runs without faults."""
    stack.reset({})
    clean = stack.run(folder / f"all-{service}" / "before", service, tasks)
    requests = sum(proxy.requests for proxy in stack.proxies.values())
    stack.reset(dict.fromkeys(stack.proxies, ALL_RATE))
    faulty = stack.run(folder / f"all-{service}" / "faulty", service, tasks)
    injected = sum(proxy.injected.total() for proxy in stack.proxies.values())
    stack.reset({})
    after = stack.run(folder / f"all-{service}" / "after", service, tasks)
    clean = replace(clean, seconds=(clean.seconds + after.seconds) / 2)  # on a machine whose load changes
    return make_row(FAILING_TOGETHER[service], "all kinds", tasks, requests, injected, clean, faulty)


def make_row(
    service: str, kind: str, tasks: int, requests: int, injected: int, clean: FaultRun, faulty: FaultRun
) -> Row:
    """Compare two runs."""
    counts: Sequence[dict[str, int | dict[str, int]]] = list(faulty.metrics.get("faults", {}).values())
    retried = sum(sum(of_service["kinds"].values()) for of_service in counts if isinstance(of_service["kinds"], dict))
    given_up = sum(int(str(of_service.get("given_up", 0))) for of_service in counts)
    differences = find_differences(clean, faulty)
    ratio = round(faulty.seconds / clean.seconds, 2)
    return Row(service, kind, tasks, requests, injected, retried, given_up, not differences, differences, ratio)


def print_row(row: Row) -> None:
    """Print one line."""
    outcome = "equal" if row.equal else f"DIFFERENT: {', '.join(row.differences)}"
    print(
        f"{row.service:<34} {row.kind:<23} {row.tasks:>4} tasks {row.requests:>5} requests {row.injected:>4} injected "
        f"{row.retried:>4} retried, {outcome}, {row.time_ratio:.2f} times the time",
        flush=True,
    )


if __name__ == "__main__":
    main()
