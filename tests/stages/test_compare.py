"""stage=compare: differences known by construction, what the page shows, and runs that cannot be compared."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from cdp_browser import NAMES, browser, program
from in_process import prepare_run
from written_runs import POLICY, write_run

from codetool.errors import ConfigError, MissingError
from codetool.evaluation.paired_comparison import compare_systems
from codetool.evaluation.significance import correct_holm
from codetool.stages.compare.compare import compare
from codetool.stages.compare.compared_runs import read_runs
from codetool.stages.compare.comparison_page import list_difference_cells
from codetool.stages.compare.result_tables import escape_latex
from codetool.types import Task

GREEDY, BEAM = ("search=greedy", "search.n=2"), ("search=beam", "search.n=2")
BASE = [True] * 12 + [False] * 12
BETTER = [True] * 20 + [False] * 4
"""It solves eight tasks more, and none less."""


def show(*words: str, outputs: Path = Path("outputs")) -> str:
    """Run the stage, and return what it printed."""
    config, choices, console = prepare_run(outputs, "stage=compare", *words)
    console.width = 400
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert compare(config, choices, console) == 0
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + printed.getvalue()


def read_rows(folder: Path, name: str = "differences.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def select(rows: list[dict[str, str]], metric: str = "success", kind: str = "all") -> list[dict[str, str]]:
    return [row for row in rows if (row["metric"], row["kind"]) == (metric, kind)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a comparison of two runs, and what was printed."""
    outputs = tmp_path_factory.mktemp("compared")
    first, second = write_run(outputs, BASE, *GREEDY), write_run(outputs, BETTER, *BEAM, tokens=150)
    words = (f"compare.runs=[{first},{second}]", "figures=[svg,pdf]", f"compare.folder={outputs / 'made'}")
    return outputs / "made", show(*words, outputs=outputs)


def test_the_difference_of_two_runs_is_the_one_they_were_made_with(compared: tuple[Path, str]) -> None:
    folder, printed = compared
    [row] = select(read_rows(folder))
    assert (row["system"], row["baseline"]) == ("search=beam", "search=greedy")
    assert float(row["difference"]) == pytest.approx(8 / 24) and (row["higher"], row["lower"]) == ("8", "0")
    assert float(row["mcnemar_p"]) == pytest.approx(2 / 2**8) == float(row["holm_p"])
    assert float(row["low"]) < 8 / 24 < float(row["high"]) and float(row["template_low"]) > 0
    [total] = select(read_rows(folder), "tokens")
    assert (float(total["baseline_value"]), float(total["value"])) == (100 + 20, 150 + 20)
    [tokens] = select(read_rows(folder), "tokens_in")
    assert float(tokens["difference"]) == 50 and tokens["mcnemar_p"] == ""
    assert "+33.3 pp" in printed and "8 tasks solved that the baseline does not solve, 0 the other way round" in printed


@pytest.mark.parametrize(
    ("kind", "name"), [("gold calls", lambda task: str(len(task.gold))), ("template", lambda task: task.template)]
)
def test_parts_have_the_differences_of_their_own_tasks(
    kind: str, name: Callable[[Task], str], compared: tuple[Path, str], tmp_path: Path
) -> None:
    tasks = prepare_run(tmp_path, *POLICY)[0].benchmark.tasks()[:24]
    differences: dict[str, list[int]] = {}
    for task, base, better in zip(tasks, BASE, BETTER, strict=True):
        differences.setdefault(name(task), []).append(better - base)
    rows = {row["part"]: row for row in read_rows(compared[0]) if row["kind"] == kind}
    assert len(rows) > 1
    assert {part: int(row["tasks"]) for part, row in rows.items()} == {
        part: len(values) for part, values in differences.items()
    }
    for part, values in differences.items():
        assert float(rows[part]["difference"]) == pytest.approx(sum(values) / len(values))
    tested = [row for row in rows.values() if row["mcnemar_p"]]
    assert [float(row["holm_p"]) for row in tested] == correct_holm([float(row["mcnemar_p"]) for row in tested])


def test_all_files_are_there(compared: tuple[Path, str]) -> None:
    folder, printed = compared
    names = {file.name for file in folder.iterdir()}
    figures = {f"{name}.{ending}" for name in ("differences", "cost", "gold-calls") for ending in ("svg", "pdf")}
    assert names == {"comparison.html", "differences.csv", "tasks.csv", "table.tex", *figures}
    assert all(name in printed for name in names)
    table = (folder / "table.tex").read_text()
    assert table.count("\\\\\n") == 3 and all(rule in table for rule in ("\\toprule", "\\midrule", "\\bottomrule"))
    assert "33.3 pp" in table and "tokens\\_in" in table and "%" not in re.sub(r"\\%|^%.*$", "", table, flags=re.M)
    assert len(read_rows(folder, "tasks.csv")) == 24


def test_the_page_has_both_trees_of_what_one_alone_solves_and_escapes_them(compared: tuple[Path, str]) -> None:
    page = (compared[0] / "comparison.html").read_text()
    assert page.count('class="task"') == 8 and page.count('class="side"') == 16
    assert "&lt;b&gt;saw 1&lt;/b&gt;" in page and "<b>saw" not in page and "<script" not in page
    assert "print(&#39;True&#39;)" in page and "print(&#39;False&#39;)" in page


@pytest.mark.slow
def test_seeds_and_repeats_are_averaged_within_tasks(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [True, False, True, False], *GREEDY, "seed=0"),
        write_run(tmp_path, [True, True, False, False], *GREEDY, "seed=1"),
        write_run(tmp_path, [[True, True], [True, False], [False, True], [False, False]], *BEAM, "repeats=2"),
        write_run(tmp_path, [True, True, True, None], "search=chain"),
    ]
    folder = tmp_path / "made"
    printed = show(f"compare.runs=[{','.join(map(str, runs))}]", f"compare.folder={folder}", outputs=tmp_path)
    beam, chain = select(read_rows(folder))
    assert (beam["baseline_value"], beam["value"], beam["tasks"]) == ("0.5", "0.5", "4")
    assert (float(beam["difference"]), beam["higher"], beam["lower"]) == (0, "0", "0")
    assert (chain["value"], chain["higher"], chain["lower"]) == ("0.75", "2", "0")  # the failed one counts as unsolved
    assert float(chain["holm_p"]) == min(1.0, 2 * float(chain["mcnemar_p"]))
    assert "mean over the seeds 0, 1" in printed
    assert "search=chain: success is higher than the baseline's on 2 tasks, lower on 0" in printed
    assert "Higher success with search=chain than with search=greedy" in (folder / "comparison.html").read_text()
    assert select(read_rows(folder), "tokens_in")[1]["tasks"] == "3"  # a failed task has no amounts


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["2", "search=chain", "NAME", "FOLDER"])
def test_the_baseline_has_many_names(baseline: str, tmp_path: Path) -> None:
    first, second = write_run(tmp_path, [True, False], *GREEDY), write_run(tmp_path, [True, True], "search=chain")
    baseline = baseline.replace("NAME", second.name).replace("FOLDER", str(second))
    label = "search=chain"
    words = (f"compare.runs=[{first},{second}]", f"compare.folder={tmp_path / 'made'}")
    show(*words, f"compare.baseline='{baseline}'", outputs=tmp_path)
    assert {row["baseline"] for row in read_rows(tmp_path / "made")} == {label}


@pytest.mark.slow
def test_a_sweep_stands_for_its_cells_and_partly_common_tasks_are_said(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, [True, False, True], *GREEDY), write_run(tmp_path, [True, True], *BEAM)]
    sweep = tmp_path / "sweeps" / "s"
    sweep.mkdir(parents=True)
    rows = "".join(f"{run.name.split('-')[1]},done,{run}\n" for run in runs)
    (sweep / "cells.csv").write_text(f"search,status,folder\n{rows}gone,failed: no model,\n")
    printed = show(f"compare.runs={sweep}", outputs=tmp_path)
    assert "1 of the 3 tasks of search=greedy" in printed and "2 tasks are compared" in printed
    left_out = f"1 of the 3 cells of {sweep} have no results and are left out: search=gone (failed: no model)."
    [folder] = (tmp_path / "compare").iterdir()
    assert left_out in printed and left_out in (folder / "comparison.html").read_text()
    assert select(read_rows(folder))[0]["tasks"] == "2"


def write_table(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.csv").write_text("\n".join(["search,status,folder", *rows]) + "\n")
    return folder


def test_cells_without_results_are_named_with_the_reason(tmp_path: Path) -> None:
    run, other = (write_run(tmp_path, [True, False], *words) for words in (GREEDY, BEAM))
    empty = tmp_path / "evaluate" / "empty"
    empty.mkdir()
    (empty / "results.jsonl").touch()
    many = [f"s{number},failed: no model.,," for number in range(5)]
    rows = [f"dfs,done,{empty}", "mcts,done,", *many, f"greedy,done,{run}", f"beam,done,{other}"]
    runs, [note] = read_runs([write_table(tmp_path / "sweeps" / "s", *rows)])
    assert [each.folder for each in runs] == [run, other]
    assert note.startswith("7 of the 9 cells") and note.endswith("; 2 more.")
    assert f"search=dfs (no results.jsonl in {empty}); search=mcts (its run folder is not there)" in note
    assert "; search=s0 (failed: no model);" in note


def test_a_sweep_with_results_of_fewer_than_two_cells_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, [True, False], *GREEDY)
    table = write_table(tmp_path / "sweeps" / "s", f"greedy,done,{run}", "beam,failed: no model,")
    said = refuse([table])
    assert f"compare.runs names one run with results, {run}: name at least two" in said
    assert said.endswith("have no results and are left out: search=beam (failed: no model).")
    write_table(table, "beam,failed: no model,")
    assert "has a run folder with results: search=beam (failed: no model)." in refuse([table])


def refuse(folders: list[Path], *more: str) -> str:
    with pytest.raises((ConfigError, MissingError)) as raised:
        show(
            f"compare.runs=[{','.join(map(str, folders))}]", *more, outputs=folders[0].parent if folders else Path("o")
        )
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [True, False], *GREEDY)
    other = write_run(tmp_path / "b", [True, False], *BEAM)
    assert "compare.runs is not set" in refuse([])
    assert "names one run" in refuse([first])
    assert "there is no folder" in refuse([first, tmp_path / "none"])
    assert "is no run folder: there is no config.yaml" in refuse([first, tmp_path])
    assert "is none of the compared runs" in refuse([first, other], "compare.baseline=dfs")
    tour = write_run(tmp_path / "c", [True], *GREEDY, "benchmark.split=train")
    assert "are of different benchmarks: tmdb_verified with the data" in refuse([first, tour])
    _edit(other, lambda content: content["identity"]["settings"].update(recheck="abc"))
    assert "were checked by different checkers" in refuse([first, other])
    _edit(other, lambda content: content["identity"]["settings"].pop("recheck"))
    lines = (other / "results.jsonl").read_text()
    (other / "results.jsonl").write_text(lines.replace('"task_id": "dev', '"task_id": "elsewhere'))
    assert "have no task in common" in refuse([first, other])
    (other / "results.jsonl").write_text("")
    assert "has no result yet" in refuse([first, other])
    (other / "results.jsonl").unlink()
    assert "has no result yet" in refuse([first, other])


def _edit(folder: Path, change: Any) -> None:
    file = folder / "provenance.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.slow
def test_verdicts_of_one_judge_are_compared_and_those_of_two_are_left_out(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, [True, False], *GREEDY), write_run(tmp_path, [True, True], *BEAM)]
    for run, score in zip(runs, (0.0, 1.0), strict=True):
        ids = [json.loads(line)["task_id"] for line in (run / "results.jsonl").read_text().splitlines()]
        votes = [{"task_id": task, "labels": ["Solved"], "reason": "", "sopr": score} for task in ids]
        (run / "judged.jsonl").write_text("".join(json.dumps(vote) + "\n" for vote in votes))
    words = (f"compare.runs=[{','.join(map(str, runs))}]", f"compare.folder={tmp_path / 'made'}")
    assert "left out" not in show(*words, outputs=tmp_path)
    [row] = select(read_rows(tmp_path / "made"), "sopr")
    assert (row["difference"], row["higher"]) == ("1.0", "2")
    _edit(runs[1], lambda content: content["identity"]["settings"].update(judge={"model": "another"}))
    assert "sopr and sowr are left out" in show(*words, outputs=tmp_path)
    assert not select(read_rows(tmp_path / "made"), "sopr")


@pytest.mark.slow
def test_without_the_benchmark_difficulty_is_how_many_systems_solve_a_task(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [True, True, False, False], *GREEDY),
        write_run(tmp_path, [True, False, True, False], *BEAM),
    ]
    for run in runs:
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("codetool.benchmarks.tmdb_verified.", "elsewhere."))
    words = (f"compare.runs=[{','.join(map(str, runs))}]", f"compare.folder={tmp_path / 'made'}")
    assert "gold paths, templates and groups are left out" in show(*words, outputs=tmp_path)
    parts = {row["part"]: row for row in read_rows(tmp_path / "made") if row["kind"] == "solved by"}
    assert {name: row["tasks"] for name, row in parts.items()} == {
        "0 of 2 systems": "1", "1 of 2 systems": "2", "2 of 2 systems": "1",
    }  # fmt: skip
    assert (parts["1 of 2 systems"]["higher"], parts["1 of 2 systems"]["lower"]) == ("1", "1")
    assert (tmp_path / "made" / "difficulty.svg").is_file()


def test_a_folder_with_another_result_is_not_written_into(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path, BASE[:2], *words) for words in (GREEDY, BEAM))
    file = tmp_path / "file"
    file.touch()
    for folder, said in {
        first: "holds the result of a run or of a sweep (provenance.json)",
        file: f"{file} is a file. Name a new folder",
        file / "below": f"{file} is a file",
    }.items():
        before = sorted(first.iterdir())
        with pytest.raises(ConfigError, match=re.escape(said)):
            show(f"compare.runs=[{first},{second}]", f"compare.folder={folder}", outputs=tmp_path)
        assert sorted(first.iterdir()) == before


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, [True, False], *GREEDY), write_run(tmp_path, [True, True], *BEAM)]
    printed = show(f"compare.runs=[{','.join(map(str, runs))}]", "dry_run=true", outputs=tmp_path)
    assert "comparison.html: would be written" in printed and not (tmp_path / "compare").exists()


def test_two_tasks_that_differ_both_ways_show_no_difference_at_all() -> None:
    made = compare_systems({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {})
    assert made is not None and ">100 pp" in list_difference_cells("success", made)


def test_latex_has_no_bare_special_characters() -> None:
    assert escape_latex("a_b & 5 % #1 {x} ~ ^ \\ $ …") == (
        r"a\_b \& 5 \% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$ \dots{}"
    )


@pytest.mark.browser
@pytest.mark.skipif(program() is None and "CI" not in os.environ, reason=f"needs one of {', '.join(NAMES)}")
def test_a_browser_shows_it_without_a_request_and_without_scrolling_sideways(compared: tuple[Path, str]) -> None:
    with browser() as window:
        window.look(1280, 900)
        window.open((compared[0] / "comparison.html").as_uri())
        window.wait("document.readyState == 'complete'")
        assert all(address.startswith(("file:", "data:", "about:")) for address in window.requests)
        assert not window.complaints
        window.js("document.querySelector('details.task').open = true; 0")
        assert window.js("document.documentElement.scrollWidth <= 1280")
        assert window.js("document.querySelector('details.task .side').getBoundingClientRect().height") > 50
