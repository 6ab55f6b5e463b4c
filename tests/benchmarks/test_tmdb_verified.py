"""Every stored answer is what its reference program finds on the replica, and the checker knows it."""

import json

import pytest
from reference import REPLICA, answered, run

from codetool.benchmarks.tmdb_verified import FOLDER, TMDBVerified, rows
from codetool.tools.tmdb.document import document

ROWS = rows()
DEV = TMDBVerified(split="dev", observation=1500)
TASKS = {task.id: task for task in DEV.tasks()}
ids = pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])


@ids
def test_the_reference_program_prints_the_stored_answer_along_the_gold_path(row):
    assert answered(row) == row, "write them again: python tests/benchmarks/reference.py"


@ids
def test_what_the_reference_program_prints_is_right(row):
    printed, _ = run(row["program"])
    assert DEV.check(TASKS[row["id"]], printed)


@ids
def test_the_query_itself_is_no_answer(row):
    task = TASKS[row["id"]]
    assert DEV.check(task, task.query) is False
    assert DEV.check(task, f"{task.query} {task.query}") is False


@ids
def test_what_earlier_steps_print_is_no_answer(row):
    if len(row["program"]) > 1 and row["answer"]["type"] != "number":
        printed, _ = run(row["program"][:-1])
        assert DEV.check(TASKS[row["id"]], printed) is False


@ids
def test_no_answer_of_another_task_passes(row):
    for other in ROWS:
        if other["id"] != row["id"] and other["answer"] != row["answer"]:
            assert DEV.check(TASKS[row["id"]], str(other["answer"]["value"])) is False


def test_eight_tools_each():
    assert {len(task.tools) for task in TASKS.values()} == {8}


def test_the_tasks_need_nearly_every_operation_of_the_replica():
    gold = {endpoint for task in TASKS.values() for endpoint in task.gold}
    assert set(REPLICA.calls) <= gold | {"GET /tv/popular"} and len(gold) >= 13


def test_queries_differ():
    assert len({task.query for task in TASKS.values()}) == len(TASKS) >= 22


def test_every_type_of_answer_occurs():
    types = {"name", "number", "date", "title", "list", "ordered_list", "yes_no", "url"}
    assert {task.answer.type for task in TASKS.values()} == types


def test_the_tour_is_a_handful_of_short_tasks_of_dev():
    tour = TMDBVerified(split="tour", observation=1500).tasks()
    assert len(tour) == 6
    assert all(task == TASKS[task.id] and len(task.gold) <= 2 for task in tour)


def test_the_stored_document_is_what_the_replica_describes():
    assert json.loads((FOLDER / "openapi.json").read_bytes()) == document(), (
        "write it again: python -m codetool.tools.tmdb.document > codetool/benchmarks/data/tmdb_verified/openapi.json"
    )
