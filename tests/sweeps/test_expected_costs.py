"""The table of a dry run of a sweep: sums of what is known, and nothing invented where a cell does not tell it."""

from __future__ import annotations

import io

from rich.console import Console

from codetool.stages.estimates.estimate import Estimate, describe_estimate
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.expected_costs import print_expected_costs
from codetool.sweeps.grid import GridCell

BOUND = Estimate(
    6, "bound", calls={"policy requests": 30, "steps": 60}, tokens={"policy": (70, 20), "prm": (9, 0)}, usd=0.5
)
MEASURED = Estimate(3, "measured", 3, {"steps": 12}, {"policy": (7, 2)}, seconds=41.0, usd=0.25)


def show(*estimates: Estimate) -> list[list[str]]:
    """The cells of the table's lines."""
    grid = [GridCell((), {"search.n": str(number)}) for number in range(len(estimates))]
    outcomes = [CellOutcome(number, estimate=estimate.encode()) for number, estimate in enumerate(estimates)]
    text = io.StringIO()
    print_expected_costs(grid, outcomes, Console(file=text, width=200))
    return [line.split() for line in text.getvalue().splitlines()]


def test_requests_that_finished_tasks_do_not_tell_are_unknown() -> None:
    _, bound, measured, total, _ = show(BOUND, MEASURED)
    assert bound[1:] == ["6", "30", "60", "79", "20", "unknown", "0.5000", "upper", "bound"]
    assert measured[1:] == ["3", "unknown", "12", "7", "2", "0:41", "0.2500", "3", "tasks"]
    assert total[2:] == ["9", "unknown", "72", "86", "22", "unknown", "0.7500"]


def test_a_finished_cell_adds_nothing() -> None:
    *_, total, _ = show(MEASURED, Estimate(0, "bound"))
    assert total[2:] == ["3", "unknown", "12", "7", "2", "0:41", "0.2500"]


def test_one_task_is_no_plural_and_a_prm_writes_nothing() -> None:
    lines = list(describe_estimate(Estimate(1, "bound", tokens={"policy": (70, 20), "prm": (9, 0)})))
    assert lines[0] == "expected for 1 task, by the search's upper bound:"
    assert "  tokens: at most policy 70 in + 20 out, PRM 9 in" in lines
