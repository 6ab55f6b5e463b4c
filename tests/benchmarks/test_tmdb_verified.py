"""The stored tasks are what the generator makes, their answers what the programs print, and the splits keep apart."""

import json
import re
from collections import Counter
from itertools import islice, pairwise

import pytest
from pydantic import ValidationError

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.task_generator.comparisons import COMPARISONS
from codetool.benchmarks.task_generator.compositions import compose_chains, draw_chains, find_held_out_pairs
from codetool.benchmarks.task_generator.dataset_card import render_card
from codetool.benchmarks.task_generator.generate import generate_compositions, generate_split, generate_train
from codetool.benchmarks.task_generator.replica_session import run_program
from codetool.benchmarks.task_generator.templates import CHAINS
from codetool.benchmarks.tmdb_verified import FOLDER, SPLITS, TMDBVerified, load_all_rows, load_rows
from codetool.errors import MissingError
from codetool.models.locate import ADAPTERS_FOLDER
from codetool.stages.train.trained_on import read_training_tasks
from codetool.tmdb.openapi_document import build_document
from codetool.types import Answer

ROWS = {split: load_rows(FOLDER / f"{split}.jsonl") for split in SPLITS}
ALL = [row for split in SPLITS for row in ROWS[split]]
WRITE = "write it again: python -m codetool.benchmarks.task_generator.generate"


def benchmark(split, train=None):
    return TMDBVerified(split=split, train=train, max_observation_chars=1500)


TASKS = {task.id: task for split in SPLITS for task in benchmark(split).tasks()}


def check(row, text):
    return benchmark("dev").check(TASKS[row["id"]], text)


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_the_generator_makes_the_stored_tasks(split):
    assert generate_split(split) == ROWS[split], WRITE


def test_the_stored_document_and_page_are_the_generators():
    assert json.loads((FOLDER / "openapi.json").read_bytes()) == build_document(), WRITE
    assert (FOLDER / "README.md").read_text("utf-8") == render_card(ROWS), WRITE


def test_there_are_enough_tasks_templates_and_operations():
    assert len(ALL) >= 600 and len(ROWS["test"]) >= 300
    assert len({row["template"] for row in ALL}) >= 70
    assert len({endpoint for row in ALL for endpoint in row["gold"]}) >= 45
    assert {len(row["program"]) for row in ALL} == {1, 2, 3, 4, 5}
    types = {"name", "number", "date", "title", "list", "ordered_list", "yes_no", "url"}
    assert {row["answer"]["type"] for row in ROWS["test"]} == types


def test_dev_and_test_have_templates_of_their_own():
    of = {split: {row["template"] for row in ROWS[split]} for split in SPLITS}
    assert len(of["dev"] - of["train"] - of["test"]) >= 10
    assert len(of["test"] - of["train"] - of["dev"]) >= 14


@pytest.mark.parametrize("other", ["dev", "test"])
def test_no_subject_of_train_occurs_elsewhere(other):
    def subjects(split):
        return {subject for row in ROWS[split] for subject in row["subjects"]}

    def searched(split):
        programs = "\n".join(step for row in ROWS[split] for step in row["program"])
        return set(re.findall(r'/search/(\w+)", params=\{"query": ("[^"]+")', programs))

    assert not subjects("train") & subjects(other)
    assert not searched("train") & searched(other)


def test_what_only_dev_or_test_has_is_composed_of_parts_that_train_shows():
    shown = {part for chain in CHAINS if chain.where == "everywhere" for part in chain.notation.split(" > ")}
    held_out = [chain for chain in CHAINS if chain.where != "everywhere"]
    composed = [chain for chain in held_out if set(chain.notation.split(" > ")) <= shown]
    assert len(composed) >= 0.8 * len(held_out), {c.notation: set(c.notation.split(" > ")) - shown for c in held_out}
    test_only = [chain for chain in composed if chain.where == "test"]
    assert {2, 3} <= {len(chain.relations) + 1 for chain in test_only}


def test_every_template_is_used():
    assert {row["template"] for row in ALL} == {template.name for template in (*CHAINS, *COMPARISONS)}


def test_ids_and_queries_are_unique():
    assert len({row["id"] for row in ALL}) == len({row["query"] for row in ALL}) == len(ALL)


def test_no_wording_carries_half_a_template():
    """Ten tasks of one template do not all begin alike."""
    beginnings = Counter((row["template"], " ".join(row["query"].split()[:3])) for row in ALL)
    templates = Counter(row["template"] for row in ALL)
    assert all(count <= 0.8 * templates[name] for (name, _), count in beginnings.items() if templates[name] >= 8)


def test_eight_tools_each_and_the_needed_ones_among_them():
    assert {len(task.tools) for task in TASKS.values()} == {8}
    assert all(set(task.gold) <= {tool.endpoint for tool in task.tools} for task in TASKS.values())


def test_what_each_reference_program_prints_is_right():
    for row in ALL:
        done = run_program(row["program"])
        assert check(row, done.printed), row["id"]
        assert (done.endpoints, done.calls) == (row["gold"], row["calls"]), row["id"]


def test_no_query_is_its_own_answer():
    for row in ALL:
        assert check(row, row["query"]) is False, row["id"]


def test_what_earlier_steps_print_is_no_answer():
    for row in ROWS["test"]:
        if len(row["program"]) > 1:
            assert check(row, run_program(row["program"][:-1]).printed) is False, row["id"]


def content(answer):
    """What two answers must not share to be different ones."""
    value = answer["value"]
    return sorted(value) if answer["type"] == "list" else value


def test_no_answer_of_another_task_of_the_type_passes():
    for row in ROWS["test"][:150]:
        for other in ROWS["test"]:
            answer, kind = other["answer"], row["answer"]["type"]
            if kind == answer["type"] and content(answer) != content(row["answer"]):
                text = answer["value"] if isinstance(answer["value"], str) else json.dumps(answer["value"])
                assert check(row, text) is False, (row["id"], other["id"])


def test_the_tour_is_a_handful_of_short_tasks_of_dev():
    tour = benchmark("tour").tasks()
    assert len(tour) == 6
    assert all(task == TASKS[task.id] and task.id.startswith("dev-") and len(task.gold) <= 2 for task in tour)


@pytest.mark.slow
def test_train_grows_by_thousands_without_leaving_its_subjects(tmp_path):
    more = generate_train(1500)
    assert len({row["query"] for row in more}) == len(more) == 1500
    elsewhere = {subject for split in ("dev", "test") for row in ROWS[split] for subject in row["subjects"]}
    assert not elsewhere & {subject for row in more for subject in row["subjects"]}
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in more), encoding="utf-8")
    assert [task.id for task in benchmark("train", file).tasks()] == [row["id"] for row in more]
    assert benchmark("train", file).checksum() != benchmark("train").checksum()


def test_compositions_hold_nothing_that_dev_and_test_hold_out():
    chains = list(draw_chains(seed=0))
    notations = [chain.notation for chain in chains]
    assert len(set(notations)) == len(notations) == len(compose_chains()) > 50_000
    assert not {chain.notation for chain in CHAINS} & set(notations)
    held_out = find_held_out_pairs()
    assert {("director", "birthday"), ("playing_movie", "director_name")} <= held_out
    assert ("movie", "director") not in held_out  # train has `movie > director > portrait`
    assert not any(pair in held_out for notation in notations for pair in pairwise(notation.split(" > ")))
    counts = Counter(len(chain.relations) for chain in chains[:1000])
    assert counts == {0: 100, 1: 400, 2: 400, 3: 100}
    assert 400 <= sum("/search/" in chain.entry_point.code for chain in chains[:1000]) <= 600


def test_tasks_of_compositions_are_answered_by_their_programs_and_of_trains_subjects(tmp_path):
    rows = list(islice(generate_compositions(), 12))
    assert len({row["template"] for row in rows}) == 12
    assert not {row["template"] for row in rows} & {row["template"] for split in SPLITS for row in ROWS[split]}
    for row in rows:
        answer = Answer(row["answer"]["type"], row["answer"]["value"])
        assert matches(answer, run_program(row["program"]).printed, row["query"])
    elsewhere = {subject for split in ("dev", "test") for row in ROWS[split] for subject in row["subjects"]}
    assert not elsewhere & {subject for row in rows for subject in row["subjects"]}
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [task.id for task in benchmark("train", file).tasks()] == [row["id"] for row in rows]


@pytest.mark.slow
def test_the_shipped_adapters_name_the_tasks_that_they_were_trained_on():
    rows = generate_train(1200)
    ids, templates = {row["id"] for row in rows}, {row["template"] for row in rows}
    prm, policy = (read_training_tasks(ADAPTERS_FOLDER / name) for name in ("smollm2_prm", "smollm2_policy"))
    assert prm.tasks == ids and prm.templates == templates
    later = list(islice(generate_compositions(), 40))
    assert ids | {row["id"] for row in later} < policy.tasks and len(policy.tasks) == 1200 + 900 + 1600
    assert templates | {row["template"] for row in later} < policy.templates and len(policy.templates) == 146 + 1600
    held_out = {row["template"] for split in ("dev", "test") for row in ROWS[split]} - templates
    assert len(held_out) > 50 and not held_out & policy.templates


def test_more_train_tasks_go_with_train_only(tmp_path):
    with pytest.raises(ValidationError, match="goes with benchmark.split=train, not test"):
        benchmark("test", tmp_path / "train.jsonl")


def test_a_file_that_is_not_there_is_named_with_what_makes_it(tmp_path):
    with pytest.raises(MissingError, match=r"nowhere.jsonl cannot be read .*task_generator.generate --train"):
        benchmark("train", tmp_path / "nowhere.jsonl").tasks()


def test_a_file_without_tasks_is_an_error(tmp_path):
    file = tmp_path / "train.jsonl"
    file.touch()
    with pytest.raises(MissingError, match="holds no task"):
        benchmark("train", file).tasks()


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a"}'])
def test_a_line_that_is_no_task_is_named(tmp_path, line):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps(ALL[0]) + f"\n{line}\n")
    with pytest.raises(MissingError, match="line 2 is no task"):
        benchmark("train", file).tasks()


def test_the_checksum_is_the_splits_own():
    assert benchmark("tour").checksum() == benchmark("dev").checksum() != benchmark("test").checksum()


def test_rows_are_those_of_all_splits():
    assert load_all_rows() == ALL
