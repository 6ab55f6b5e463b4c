"""RestBench-TMDB's checked answers: each is what its reference program finds on the replica along the mended gold path.

Queries stand here by index only.
"""

import asyncio
import json
from pathlib import Path

import pytest
from data_folder import data_folder
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from regenerate_restbench import checked

from codetool.answers.final_answer import MAX_ANSWER_CHARS
from codetool.benchmarks.reference_answers import ANSWERS_FILE, load_answer_rows, load_references
from codetool.benchmarks.task_generator.replica_session import run_program

CONF = Path(__file__).parents[2] / "conf"
ROWS = load_answer_rows()
ANSWERED = [row for row in ROWS if "unanswerable" not in row]
each = pytest.mark.parametrize("row", ROWS, ids=[f"q{row['index']}" for row in ROWS])
each_answered = pytest.mark.parametrize("row", ANSWERED, ids=[f"q{row['index']}" for row in ANSWERED])

FACTS = {
    0: 8,
    1: "Christian Bale",
    8: "Oppenheimer",
    9: "GoodFellas",
    10: "Martin Scorsese",
    14: "Catherine Hardwicke",
    17: "1999-03-31",
    32: "1997-12-19",
    31: "Universal City, California",
    36: ["2012-12-12", "2013-12-11", "2014-12-10"],
    39: "2001-12-18",
    40: ["Allen Coulter", "Carl Franklin", "Charles McDougall", "David Fincher", "James Foley", "Joel Schumacher"],
    52: 138,
    54: "2007-09-24",
    57: "2012-04-01",
    60: "https://www.hbo.com",
    71: "1975-04-02",
    75: "Friends",
    76: "Bryn Higgins",
    83: "Chapter 11: The Heiress",
    84: "1958-10-16",
    85: "1959-01-28",
    88: "The Double Life of Véronique",
    89: True,
    90: "Missoula, Montana, USA",
    91: False,
    92: "Steven Spielberg",
    94: "1984-11-22",
    95: 4,
    96: True,
    97: ["Mamoru Miyano", "0"],
}
"""Answers that are known without the replica, or that follow from its data by hand."""

SOME = {
    12: "Better Call Saul",
    29: "Kate Winslet",
    33: "Carrie Fisher",
    43: "Pulp Fiction",
    48: "Robin Williams",
    69: "Richard Hammond",
    77: "Interstellar",
}
"""The same of queries that ask for some of several."""


def composed(*words):
    """The run's settings as its parts, alive."""
    data_folder("restbench")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("config", ["benchmark=tmdb", *words]), _convert_="all")


RIGHT = {
    0: ["Sofia Coppola has directed 8 movies."],
    1: ["The lead actor in The Dark Knight was Christian Bale.", "Christian Bale as Bruce Wayne"],
    8: ["The latest movie directed by Christopher Nolan is Oppenheimer, released on 2023-07-19."],
    9: ["Goodfellas (8.5)"],
    10: ["The director of Killers of the Flower Moon is Martin Scorsese."],
    17: ["The Matrix was released on March 31, 1999.", "1999-03-31T00:00:00.000Z"],
    29: ["Leonardo DiCaprio as Jack Dawson\nKate Winslet as Rose DeWitt Bukater", "Leonardo DiCaprio, Kate Winslet"],
    31: ["Universal Pictures: Universal City, California"],
    36: [
        "The Hobbit: An Unexpected Journey: 2012-12-12\nThe Hobbit: The Desolation of Smaug: 2013-12-11\n"
        "The Hobbit: The Battle of the Five Armies: 2014-12-10",
        "['2012-12-12', '2013-12-11', '2014-12-10']",
    ],
    43: ["Pulp Fiction, Reservoir Dogs and Jackie Brown"],
    48: ["Guest stars: Jon Favreau, Robin Williams", "Billy Crystal"],
    52: ["2 Broke Girls has 138 episodes in total."],
    60: ["HBO: https://www.hbo.com/"],
    63: ["Sci-Fi & Fantasy, Action & Adventure, Drama"],
    69: ["Richard Hammond, James May"],
    71: ["Pedro Pascal was born on April 2, 1975."],
    76: ["The episode was directed by Bryn Higgins."],
    78: ["Avatar: The Way of Water has a higher rating than Avatar."],
    84: ["Tim Robbins: 1958-10-16"],
    88: ["The Double Life of Veronique has an earlier release date than Mulholland Drive."],
    90: ["David Lynch was born in Missoula, Montana, USA."],
    91: ["No, Mulholland Drive is not in the top 10."],
    92: ["Spielberg", "Steven Spielberg directed more movies"],
    96: ["Yes, they are co-starring."],
    97: ["Mamoru Miyano is older by 0 years", "Mamoru Miyano 0.16", "('Mamoru Miyano', 0)"],
}
"""What careful solvers print."""

WRONG = {
    1: ["Heath Ledger", "Christian Bale, Heath Ledger", "Bruce Wayne"],
    7: ["Titanic"],
    8: ["Oppenheimer or Tenet"],
    29: ["Leonardo DiCaprio, Tom Cruise"],
    33: ["Liam Neeson"],
    36: ["2012-12-12, 2013-12-11"],
    37: ["['The Fast and the Furious', '2 Fast 2 Furious']"],
    43: ["Django Unchained"],
    60: ["https://www.netflix.com"],
    69: ["Jeremy Clarkson"],
    78: ["Avatar"],
    88: ["Mulholland Drive"],
    91: ["Yes"],
    92: ["Akira Kurosawa"],
    97: ["Greta Gerwig 0", "Mamoru Miyano", "Mamoru Miyano is older by 12 years"],
}


@pytest.fixture(scope="module")
def benchmark():
    return composed("benchmark.tools=all")["benchmark"]


@pytest.fixture(scope="module")
def tasks(benchmark):
    return benchmark.tasks()


def subsequence(some, whole):
    left = iter(whole)
    return all(item in left for item in some)


def test_every_query_has_a_line_and_all_but_one_an_answer():
    assert [row["index"] for row in ROWS] == list(range(100))
    assert {row["index"]: bool(row["unanswerable"]) for row in ROWS if "unanswerable" in row} == {53: True}


@each
def test_the_stored_line_is_what_its_program_finds(row):
    assert checked(row) == row, "write the answers again: python experiments/task_generator/regenerate_restbench.py"


@each_answered
def test_what_the_program_prints_is_right(row):
    assert load_references()[f"q{row['index']}"].accepts(run_program(row["program"]).printed)


@each
def test_the_program_takes_one_to_five_steps_of_one_hop(row):
    assert 1 <= len(row["program"]) <= 5
    assert sum("requests.get(" in step for step in row["program"]) == len(row["program"])


@each
def test_every_call_is_answered_with_something(row):
    session = run_program(row["program"])
    assert {answer.status for answer in session.answers} == {200}
    for answer in session.answers:
        body = json.loads(answer.body)
        lists = [value for name, value in body.items() if isinstance(value, list)]
        assert "results" not in body or body["results"]
        assert not lists or any(lists) or len(lists) < len(body) - 1


@pytest.mark.data
@each
def test_the_mended_gold_path_is_a_part_of_the_programs_calls(row, tasks):
    gold = tasks[row["index"]].gold
    assert gold and subsequence(gold, run_program(row["program"]).endpoints)


@pytest.mark.data
@each
def test_a_task_carries_its_answer_and_calls(row, tasks):
    task = tasks[row["index"]]
    assert list(task.gold_calls) == row["calls"]
    assert (task.answer and task.answer.value) == row.get("answer", {}).get("value")


@pytest.mark.data
@each_answered
def test_the_query_is_no_answer(row, tasks, benchmark):
    task = tasks[row["index"]]
    assert benchmark.check(task, task.query) is False


@each_answered
def test_what_earlier_steps_print_is_no_answer(row):
    if len(row["program"]) > 1:
        assert not load_references()[f"q{row['index']}"].accepts(run_program(row["program"][:-1]).printed)


@each_answered
def test_a_list_of_everything_is_no_answer(row):
    reference = load_references()[f"q{row['index']}"]
    values = [value for other in ANSWERED for value in _texts(other["answer"]["value"])]
    assert not reference.accepts(str(values)) and not reference.accepts("\n".join(values))


@pytest.mark.parametrize("index", sorted(FACTS))
def test_the_known_fact_is_right(index):
    assert load_references()[f"q{index}"].accepts(str(FACTS[index]))


@pytest.mark.parametrize("index", sorted(SOME))
def test_the_known_fact_is_among_the_answers(index):
    reference = load_references()[f"q{index}"]
    assert reference.accepts(SOME[index]) and SOME[index] in reference.answer.value


def test_other_readings_are_right_too():
    for row in ANSWERED:
        for entry in row.get("also", ()):
            one = entry["value"][0] if entry["type"] != "list" else entry["value"]
            assert load_references()[f"q{row['index']}"].accepts(str(one)), row["index"]


def test_an_image_may_be_named_by_its_url():
    reference = load_references()["q51"]
    path = reference.answer.value[0]
    assert reference.accepts(path) and reference.accepts(f"https://image.tmdb.org/t/p/w500{path}")
    assert not reference.accepts("https://image.tmdb.org/t/p/w500/somethingelse.jpg")


@pytest.mark.data
@pytest.mark.parametrize("index", sorted(RIGHT))
def test_a_careful_answer_passes(index, benchmark, tasks):
    assert [text for text in RIGHT[index] if not benchmark.check(tasks[index], text)] == []


@pytest.mark.data
@pytest.mark.parametrize("index", sorted(WRONG))
def test_a_wrong_answer_fails(index, benchmark, tasks):
    assert [text for text in WRONG[index] if benchmark.check(tasks[index], text)] == []


@pytest.mark.data
def test_the_query_without_an_answer_has_no_verdict(tasks, benchmark):
    assert tasks[53].answer is None and benchmark.check(tasks[53], "1923") is None


@pytest.mark.data
def test_no_sentence_of_the_data_set_stands_in_the_file(tasks):
    stored = ANSWERS_FILE.read_text(encoding="utf-8").casefold()
    assert not [task.id for task in tasks if task.query.casefold() in stored]


@pytest.mark.data
async def test_every_program_ends_with_the_right_answer_in_the_sandbox_through_the_broker(benchmark):
    """Everything as `stage=evaluate` wires it, with the published candidates; only the model is left out."""
    parts = composed()
    tasks = parts["benchmark"].tasks()
    places = asyncio.Semaphore(8)
    async with parts["executor"].open() as sandbox, parts["tools"].open(tasks) as broker:

        async def followed_by(task):
            async with places:
                interpreter = await sandbox.start(task, broker.session(task).call)
                steps = [await interpreter.run(step) for step in load_references()[task.id].program]
                await interpreter.close()
            return steps

        runs = await asyncio.gather(*map(followed_by, tasks))
    for task, steps in zip(tasks, runs, strict=True):
        assert all(step.ran for step in steps), (task.id, [step.error for step in steps])
        assert subsequence(task.gold, [answer.call.endpoint for step in steps for answer in step.calls]), task.id
        said = steps[-1].observation.strip()[:MAX_ANSWER_CHARS]
        assert benchmark.check(task, said) is (None if task.answer is None else True), task.id


def _texts(value):
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
