"""StableToolBench's queries: their groups, subsets and edits, and files of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from data_folder import data_folder
from file_server import FileServer, file_server
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from codetool.benchmarks.stabletoolbench import SHA256, SOURCE, StableToolBench
from codetool.errors import ConfigError, MissingError
from codetool.http.download import compute_sha256
from codetool.types import Task

CONF = Path(__file__).parents[2] / "conf"
COUNTS = {  # solvable, paper, left out
    "G1_instruction": (163, 131, 32),
    "G1_category": (153, 122, 31),
    "G1_tool": (158, 118, 40),
    "G2_category": (124, 100, 24),
    "G2_instruction": (106, 92, 14),
    "G3_instruction": (61, 17, 44),
    "all": (765, 580, 185),
}


def benchmark(**changed: Any) -> StableToolBench:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=["+benchmark=stabletoolbench", "+tools={}"])
    made = instantiate(config.benchmark, **changed)
    assert isinstance(made, StableToolBench)
    return made


@pytest.mark.data
@pytest.mark.parametrize("group", COUNTS)
def test_each_group_and_subset_has_its_queries(group: str) -> None:
    subsets = ("solvable", "paper", "left_out")
    tasks = [[task.id for task in benchmark(group=group, subset=subset).tasks()] for subset in subsets]
    assert tuple(map(len, tasks)) == COUNTS[group]
    assert {task.group for task in benchmark(group=group).tasks()} == ({group} if group != "all" else {*SHA256})
    assert not set(tasks[1]) & set(tasks[2]) and set(tasks[1]) | set(tasks[2]) == set(tasks[0])


@pytest.mark.data
def test_the_files_are_those_that_are_published() -> None:
    for group, sha256 in SHA256.items():
        assert compute_sha256(data_folder(f"stabletoolbench/solvable_queries/{group}.json")) == sha256


@pytest.mark.data
def test_the_papers_edits_are_those_that_it_made() -> None:
    """Against the list of differences between the published queries and the paper's."""
    edits = json.loads((data_folder("codetool") / "solvable_query_edits.json").read_text())
    paper = {task.id: task for task in benchmark(subset="paper").tasks()}
    plain = {task.id: task for task in benchmark().tasks()}
    assert {name for name in paper if paper[name] != plain[name]} == {name for each in edits.values() for name in each}
    for each in edits.values():
        for name, changes in each.items():
            for change in changes:
                for kind, wanted in change["after"].items():
                    assert [entry["name"] for entry in wanted] == named(paper[name], change["api_name"], kind)


def named(task: Task, api: str, kind: str) -> list[str]:
    """The parameters of one kind, in the spelling of these six queries, which differs by case alone."""
    spelled = api.lower().replace(" ", "_")
    [tool] = [tool for tool in task.tools if tool.path.endswith(f"/{spelled}")]
    names = {"summonername": "summonerName"}
    return [names.get(p.name, p.name) for p in tool.parameters if p.required == (kind == "required_parameters")]


@pytest.mark.data
def test_the_default_of_a_region_is_the_papers() -> None:
    [task] = [task for task in benchmark(group="G1_instruction", subset="paper").tasks() if task.id == "47838"]
    defaults = {tool.name: {p.name: p.default for p in tool.parameters} for tool in task.tools}
    assert sum(each.get("region") == "NA" for each in defaults.values()) == 3


@pytest.mark.data
def test_what_determines_the_tasks_determines_the_checksum() -> None:
    sums = [benchmark(group="G1_tool", subset=subset).checksum() for subset in ("solvable", "paper")]
    sums += [benchmark(group="G3_instruction").checksum(), benchmark().checksum()]
    assert len(set(sums)) == 4


def query(**changes: Any) -> dict[str, Any]:
    api = {
        "category_name": "Data", "tool_name": "Clique", "api_name": "Artist", "api_description": "Artist info",
        "required_parameters": [], "optional_parameters": [], "method": "GET",
    }  # fmt: skip
    return {
        "query": " Who is Ada? ",
        "query_id": 7,
        "api_list": [api, api],
        "relevant APIs": [["Clique", "Artist"]],
    } | changes


def test_a_file_of_toolbenchs_queries_stands_for_the_groups(tmp_path: Path) -> None:
    file = tmp_path / "queries.json"
    without_id = query(query="Where?")
    del without_id["query_id"]
    file.write_text(json.dumps([query(), without_id]))
    first, second = benchmark(queries=file).tasks()
    assert (first.id, first.query, second.id) == ("7", "Who is Ada?", "1")
    assert [tool.path for tool in first.tools] == ["/Data/clique/artist"]
    assert benchmark(queries=file).check(first, "Ada") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("{", MissingError, "is broken"),
        ('{"a": 1}', MissingError, "holds no list"),
        ("[{}]", MissingError, "query 1 is none of ToolBench's: it lacks 'api_list'"),
        ("[5]", MissingError, "query 1"),
        (json.dumps([query(), query()]), ConfigError, "query_id 7 twice"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path: Path, content: str, error: type[Exception], words: str) -> None:
    file = tmp_path / "queries.json"
    file.write_text(content)
    with pytest.raises(error, match=words):
        benchmark(queries=file).tasks()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"benchmark\.queries=.*nowhere\.json"):
        benchmark(queries=tmp_path / "nowhere.json").tasks()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))
    with file_server() as server:
        for group in SHA256:
            content = data_folder(f"stabletoolbench/solvable_queries/{group}.json").read_bytes()
            server.files[urlsplit(f"{SOURCE}/{group}.json").path] = content
        yield server


@pytest.mark.data
def test_what_the_data_folder_lacks_is_downloaded_once_and_verified(mirror: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert len(benchmark(group="G3_instruction", folder=None, mirror=mirror.url).tasks()) == 61
    [asked] = mirror.asked
    assert asked.endswith("/test_instruction/G3_instruction.json")
    assert (tmp_path / "cache/data/stabletoolbench/solvable_queries/G3_instruction.json").is_file()


@pytest.mark.data
def test_a_download_of_another_file_is_refused(mirror: FileServer) -> None:
    mirror.files = {path: b"[]" for path in mirror.files}
    with pytest.raises(MissingError, match="what came is another file"):
        benchmark(folder=None, mirror=mirror.url).tasks()


def test_a_file_that_is_not_the_published_one_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "stabletoolbench" / "solvable_queries" / "G2_category.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([query()]))
    [task] = benchmark(group="G2_category", folder=tmp_path).tasks()
    assert task.id == "7" and "is not the published file" in caplog.text
