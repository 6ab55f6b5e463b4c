"""The PRM that knows the solution: reference programs through the real sandbox and broker, and the rule by itself."""

import asyncio
from itertools import accumulate

import pytest
from composing import compose_config
from hydra.utils import instantiate
from judging import after
from no_servers import NO_SERVERS
from omegaconf import OmegaConf

from codetool.benchmarks.task_generator.corruptions import corrupt_program
from codetool.benchmarks.tmdb_verified import FOLDER, TMDBVerified, load_rows
from codetool.config.overrides import compose_all
from codetool.errors import ConfigError
from codetool.prm.oracle import OraclePRM
from codetool.runs.identity import select_identity_settings
from codetool.tool_calls.gold_path import remaining_gold_calls
from codetool.types import Answer, Execution, Node, Step, Task, Tool, ToolAnswer, ToolCall

SERVER = "http://films/3"
PATHS = {"/search/movie": "GET", "/movie/{id}": "GET", "/movie/{id}/credits": "GET", "/list": "POST"}
TOOLS = {path: Tool(f"{method}_{path}", method, SERVER, path) for path, method in PATHS.items()}
SEARCH = "GET /search/movie?query=The+Matrix"
ROWS = {row["id"]: row for row in load_rows(FOLDER / "dev.jsonl")}
SAMPLE = list(ROWS)


# Reference programs of real tasks


@pytest.fixture(scope="module")
def config():
    return compose_all(["benchmark=tmdb_verified", "benchmark.split=dev", "prm=oracle"])[0]


async def worth(config, programs):
    """The oracle's score after each step of each (task, program), all run as a search runs them."""
    prm_option, executor, tools = (instantiate(config[name], _convert_="all") for name in ("prm", "executor", "tools"))
    tasks = [task for task, _ in programs]
    places = asyncio.Semaphore(8)
    async with executor.open() as sandbox, tools.open(tasks) as broker, prm_option.open(NO_SERVERS) as prm:

        async def followed(task, program):
            async with places:
                interpreter = await sandbox.start(task, broker.session(task).call)
                path, values = [], []
                for k, code in enumerate(program, start=1):
                    step = Step(f"##Step {k}: go on", code, finished=k == len(program))
                    execution = await interpreter.run(code)
                    values += (await prm.score(task, path, [step], [execution])).values
                    path.append(Node(f"{k}", None, k, step, execution))
                await interpreter.close()
                return values

        return await asyncio.gather(*(followed(task, program) for task, program in programs))


def tasks():
    return {task.id: task for task in TMDBVerified(split="dev", train=None, max_observation_chars=1500).tasks()}


async def test_every_step_of_a_reference_program_is_worth_one(config):
    known = tasks()
    assert len(SAMPLE) >= 40
    found = await worth(config, [(known[name], ROWS[name]["program"]) for name in SAMPLE])
    for name, values in zip(SAMPLE, found, strict=True):
        assert values == [1.0] * len(ROWS[name]["program"]), name


async def test_a_damaged_program_loses_its_worth(config):
    """Wherever it is damaged, it ends with a wrong answer; where it asks for something else, it is noticed there."""
    known, cases = tasks(), []
    for name in SAMPLE[::10]:
        ranked = known[name].answer.type != "some_of"
        cases += [(kind, known[name], copy) for kind, copy in corrupt_program(ROWS[name]["program"], 0, ranked=ranked)]
    found = await worth(config, [(task, program) for _, task, program in cases])
    for (kind, task, program), values in zip(cases, found, strict=True):
        assert values[-1] == 0.0, (kind, task.id, program)
    asked_wrongly = [values for (kind, _, _), values in zip(cases, found, strict=True) if kind == "wrong_endpoint"]
    assert any(0.0 in values[:-1] for values in asked_wrongly)
    assert len(cases) > 40


# The rule


def call(line, status=200, tool=True):
    """A call of `GET /path?name=value`, answered."""
    method, _, address = line.partition(" ")
    path, _, query = address.partition("?")
    arguments = dict(pair.split("=") for pair in query.split("&")) if query else {}
    arguments = {name: value.replace("+", " ") for name, value in arguments.items()}
    parts = path.strip("/").split("/")
    template = "/" + "/".join("{id}" if part.isdigit() else part for part in parts)
    matched = TOOLS.get(template) if tool else None
    return ToolAnswer(ToolCall(method, SERVER + path, arguments, matched), status, "{}", "replica")


def film_task(*calls, endpoints=()):
    return Task("t", "who?", tuple(TOOLS.values()), gold=tuple(endpoints), gold_calls=calls)


def on_path(task, *calls):
    """For each beginning of the calls whether it follows the gold path."""
    made = [call(one) if isinstance(one, str) else one for one in calls]
    return [remaining_gold_calls(task, before) is not None for before in accumulate([[one] for one in made])]


GOLD = film_task(SEARCH, "GET /movie/603", "GET /movie/603/credits")


def test_the_gold_calls_in_order_lead_to_its_end():
    made = [call(line) for line in GOLD.gold_calls]
    assert [remaining_gold_calls(GOLD, made[:n]) for n in range(4)] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ((SEARCH, "GET /movie/604"), [True, False]),
        ((SEARCH, "GET /movie/604", "GET /movie/603"), [True, False, False]),  # left is left
        (("GET /movie/603",), [False]),
        ((SEARCH, "GET /movie/603/credits"), [True, False]),
        ((SEARCH, "GET /search/movie?query=Titanic"), [True, False]),
        ((SEARCH, SEARCH, "GET /movie/603", SEARCH), [True] * 4),
        ((*GOLD.gold_calls, "GET /movie/604"), [True, True, True, False]),
    ],
)
def test_calls_beside_the_gold_path_leave_it_and_repeated_ones_do_not(calls, expected):
    assert on_path(GOLD, *calls) == expected


@pytest.mark.parametrize("line", ["?query=the+matrix", "?page=1&query=The+Matrix", "?language=en&query=The+Matirx"])
def test_arguments_may_be_written_in_other_ways(line):
    assert on_path(GOLD, f"GET /search/movie{line}") == [True]


def test_an_argument_of_another_type_is_the_same():
    task = film_task("GET /search/movie?query=7&year=1999")
    number = ToolCall("GET", f"{SERVER}/search/movie", {"year": 1999, "query": "7"}, TOOLS["/search/movie"])
    assert on_path(task, ToolAnswer(number, 200, "", "replica")) == [True]
    assert on_path(task, "GET /search/movie?query=7") == [False]


@pytest.mark.parametrize(
    ("years", "follows"), [(["1", "2"], True), (["2", "1"], True), ([9, 2], False), ([2], False), ("2", False)]
)
def test_every_value_of_a_list_argument_counts(years, follows):
    task = film_task("GET /search/movie?years=1&years=2")
    made = ToolCall("GET", f"{SERVER}/search/movie", {"years": years}, TOOLS["/search/movie"])
    assert on_path(task, ToolAnswer(made, 200, "", "replica")) == [follows]


@pytest.mark.parametrize(
    "template", ["/films('{id}')", "/$count/{id}", "/(x/{id}", "/v1.0/{id}", "/[a]/{id}", "/a+b/{id}"]
)
def test_any_character_may_stand_in_a_template(template):
    tool = Tool("film", "GET", SERVER, template)
    lines = [f"GET {template.replace('{id}', number)}" for number in ("1", "2")]
    calls = [ToolCall("GET", SERVER + line[4:], {"id": line[-1]}, tool) for line in lines]
    task = Task("t", "who?", (tool,), gold_calls=tuple(lines))
    assert on_path(task, *(ToolAnswer(call, 200, "", "replica") for call in reversed(calls))) == [True, True]


def test_another_page_is_another_call():
    assert on_path(GOLD, "GET /search/movie?page=2&query=The+Matrix") == [False]


def test_calls_that_were_not_answered_do_not_count():
    assert on_path(GOLD, call("GET /movie/1", 404), SEARCH, call("GET /movie/9", 500)) == [True] * 3
    assert remaining_gold_calls(GOLD, [call(SEARCH, 404)]) == 3


def test_what_no_document_knows_is_never_gold():
    assert on_path(GOLD, call(SEARCH, tool=False)) == [False]


def test_the_calls_of_a_loop_may_come_in_any_order_but_all_before_what_follows():
    loop = [f"GET /movie/{i}" for i in (1, 2, 3)]
    task = film_task(SEARCH, *loop, "GET /movie/1/credits")
    assert on_path(task, SEARCH, loop[2], loop[0], loop[1], "GET /movie/1/credits") == [True] * 5
    assert on_path(task, SEARCH, loop[2], "GET /movie/1/credits") == [True, True, False]


def test_endpoints_alone_are_compared_where_no_calls_are_known():
    task = film_task(endpoints=["GET /search/movie", "GET /movie/{id}"])
    assert on_path(task, "GET /search/movie?query=x", "GET /movie/1", "GET /movie/2") == [True] * 3
    assert on_path(task, "GET /movie/1") == [False]
    assert on_path(task, "GET /search/movie?query=x", "GET /movie/1/credits") == [True, False]


def test_a_write_is_not_made_twice():
    task = film_task("POST /list", "GET /movie/1")
    assert on_path(task, "POST /list", "POST /list") == [True, False]


# The option


class Films:
    """A benchmark of one task, right where the answer is `Ann`; None for a task without an answer."""

    def __init__(self, task):
        self.task = task

    def tasks(self):
        return [self.task]

    def check(self, task, answer):
        return None if task.answer is None else answer == "Ann"

    def checksum(self):
        return "0"


async def one(task, step, execution, path=()):
    async with OraclePRM(benchmark=Films(task)).open(NO_SERVERS) as prm:
        assert prm.sees_observation
        return (await prm.score(task, path, [step], [execution])).values[0]


def ran(observation, *lines, status="ok"):
    return Execution(status, observation, calls=tuple(call(line) for line in lines))


ANSWERED = Task("t", "who?", tuple(TOOLS.values()), gold_calls=GOLD.gold_calls, answer=Answer("name", "Ann"))
GO_ON, END = Step("", "x", finished=False), Step("", "x", finished=True)


async def test_a_finished_path_is_worth_what_its_answer_is_wherever_it_went():
    assert await one(ANSWERED, END, ran("Ann", "GET /movie/7")) == 1.0
    assert await one(ANSWERED, END, ran("Bob", *GOLD.gold_calls)) == 0.0


async def test_without_a_checked_answer_the_finished_path_has_to_be_the_whole_gold_path():
    assert await one(GOLD, END, ran("Ann", *GOLD.gold_calls)) == 1.0
    assert await one(GOLD, END, ran("Ann", *GOLD.gold_calls[:2])) == 0.0


@pytest.mark.parametrize("status", ["ok", "exception", "no_code"])
@pytest.mark.parametrize(("lines", "expected"), [([SEARCH], 1.0), (["GET /movie/7"], 0.0)])
async def test_a_step_without_calls_keeps_the_worth_of_its_path(status, lines, expected):
    first = after("look", "").parent
    path = [Node("1", first, 1, GO_ON, ran("", *lines))]
    assert await one(ANSWERED, GO_ON, ran("", status=status), path) == expected


async def test_siblings_are_judged_by_what_each_of_them_did():
    runs = [ran("", SEARCH), ran("", "GET /movie/7"), ran("")]
    async with OraclePRM(benchmark=Films(ANSWERED)).open(NO_SERVERS) as prm:
        assert (await prm.score(ANSWERED, [], [GO_ON] * 3, runs)).values == (1.0, 0.0, 1.0)


async def test_a_benchmark_without_gold_is_told_before_any_task():
    bare = Task("t7", "who?", ())
    with pytest.raises(ConfigError, match="task t7 has none.*Choose another prm="):
        async with OraclePRM(benchmark=Films(bare)).open(NO_SERVERS):
            pass


async def test_a_task_without_gold_among_others_is_told_by_name():
    async with OraclePRM(benchmark=Films(ANSWERED)).open(NO_SERVERS) as prm:
        with pytest.raises(ConfigError, match="task t7 has none"):
            await prm.score(Task("t7", "who?", ()), [], [GO_ON], [ran("")])


async def test_steps_that_were_not_run_cannot_be_judged():
    async with OraclePRM(benchmark=Films(ANSWERED)).open(NO_SERVERS) as prm:
        with pytest.raises(ConfigError, match="were not run"):
            await prm.score(ANSWERED, [], [GO_ON])


def test_it_takes_the_benchmark_of_the_run(config):
    assert instantiate(config.prm, _convert_="all").benchmark == instantiate(config.benchmark, _convert_="all")


def test_the_result_is_its_own_and_names_the_benchmark_once(config):
    assert "benchmark" in OmegaConf.to_container(config, resolve=True)["prm"]
    oracle, none = (select_identity_settings(*compose_config(f"prm={name}")) for name in ("oracle", "none"))
    assert oracle["prm"] == {"_option_": "oracle"}
    assert oracle != none
