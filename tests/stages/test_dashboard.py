"""stage=dashboard: the page and the workspace of a sweep, what they average, and what is refused."""

from __future__ import annotations

import base64
import csv
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cdp_browser import NAMES, browser, program
from command_line import CommandLine
from in_process import prepare_run
from scripted_policy import scripted_server
from sweep_folder import result_line, write_prm_result, write_sweep
from wandb_files import WandBServer, wandb_server

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.intervals import bootstrap_mean
from codetool.stages.dashboard.dashboard import dashboard
from codetool.stages.dashboard.sweep_charts import draw_costs, draw_heat_maps, draw_lines, pool_cells
from codetool.stages.dashboard.sweep_results import read_sweep

KEY = "0123456789abcdef0123456789abcdef01234567"
GRID = ("search.width=1,2", "reward=codetool,without_latent", "prm=none")


class Page(HTMLParser):
    """A page's figures, links, table rows and text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""
        self.in_cell = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.tags.add(tag)
        if tag == "img":
            self.figures[given["alt"]] = base64.b64decode(given["src"].split(",")[1]).decode()
        elif tag == "a":
            self.links.append(given["href"])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")


def show(*words: str) -> str:
    """Run the stage, and return what it printed."""
    config, choices, console = prepare_run(Path("outputs"), "stage=dashboard", *words)
    console.width = 400
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert dashboard(config, choices, console) == 0
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + printed.getvalue()


@pytest.fixture(params=["by hand", pytest.param("run", marks=pytest.mark.slow)])
def swept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a sweep of two by two cells, written by hand or by a sweep."""
    if request.param == "by hand":
        lines = [result_line("t1", True), result_line("t2", False)]
        grid = [(width, reward) for width in ("1", "2") for reward in ("codetool", "without_latent")]
        return write_sweep(tmp_path, [({"search.width": width, "reward": reward}, lines) for width, reward in grid])
    run = CommandLine(tmp_path / "outputs")
    with scripted_server() as policy:
        endpoint = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "limit=2", "logger=none")
        done = run("-m", *endpoint, "search=beam", "search.n=2", *GRID)
    assert done.returncode == 0, done.stderr
    [folder] = (run.outputs / "sweeps").iterdir()
    return folder


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is logged in to W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_sweep_is_shown_on_one_page_and_as_a_workspace(swept: Path, nobody: None) -> None:
    printed = show(f"dashboard.sweep={swept}", "dashboard.project=films")
    file = swept / "dashboard.html"
    assert f"{file}: 4 of 4 cells, 6 figures" in printed, printed
    assert "nothing is saved there without an API key" in printed
    page = Page(file)
    titles = " ".join(page.figures)
    assert all(
        part in titles for part in ("by search.width", "and search.width", "by tokens", "by reward", "of the cells")
    )
    assert "script" not in page.tags and "://" not in re.sub(r"data:[^\"]*", "", file.read_text())
    with (swept / "cells.csv").open() as table:
        rows = list(csv.DictReader(table))
    shown = [row for row in page.rows if row[-1:] == ["report"]]
    assert [row[:2] for row in shown] == [[row["search.width"], row["reward"]] for row in rows]
    assert [row[2] for row in shown] == [f"{100 * float(row['success']):.1f} %" for row in rows]
    trees = [link for link in page.links if not link.startswith("#")]
    assert len(trees) == 4 + 2 * 8, trees  # a cell's report, and that of each of the slowest and the costliest tasks
    assert all((swept / unquote(link.split("#")[0])).resolve().is_file() for link in trees)
    check_workspace(json.loads((swept / "workspace.json").read_text()), swept.name)


def check_workspace(workspace: Mapping[str, Any], sweep: str) -> None:
    """The sweep's runs are grouped by the chosen words, and plotted against the swept numbers."""
    assert workspace["project"] == "films"
    section = workspace["spec"]["section"]
    [runs] = section["runSets"]
    assert [(rule["key"]["name"], rule["value"]) for rule in runs["filters"]["filters"]] == [("group", sweep)]
    assert runs["grouping"] == [{"section": "config", "name": "reward.value"}]
    panels = [panel for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    axes = {panel["config"].get("xAxis") for panel in panels if panel["viewType"] == "Scatter Plot"}
    assert axes == {"config:search/width.value", "summary:tokens", "summary:seconds", "summary:usd"}
    bars = [panel["config"]["groupBy"] for panel in panels if panel["viewType"] == "Bar Chart"]
    assert bars == ["reward.value"]
    media = [panel["config"]["mediaKeys"] for panel in panels if panel["viewType"] == "Media Browser"]
    assert ["by-search.width"] in media and ["ablation-reward"] in media and len(media) == 6


def test_seeds_are_averaged_within_each_task_before_tasks_are_resampled(tmp_path: Path) -> None:
    outcomes = {"0": [True, False, True], "1": [True, True, False]}
    lines = {seed: [result_line(f"t{n}", ok) for n, ok in enumerate(found)] for seed, found in outcomes.items()}
    cells = [({"search.n": n, "seed": seed}, lines[seed]) for n in ("2", "4") for seed in lines]
    sweep = read_sweep(write_sweep(tmp_path, cells))
    pooled = pool_cells("success", sweep.cells[:2])
    low, high = bootstrap_mean([1.0, 0.5, 0.5], seed=0) or (None, None)
    assert (pooled.value, pooled.low, pooled.high) == (pytest.approx(2 / 3), low, high)
    assert sweep.list_varied() == ["search.n"]
    [(name, chart)] = draw_lines(sweep)
    assert name == "by-search.n" and [point.x for point in chart.lines[0].points] == [2.0, 4.0]


def test_the_frontier_joins_the_cells_that_no_cheaper_cell_reaches(tmp_path: Path) -> None:
    shares = {"1": (1, 100), "2": (2, 300), "3": (2, 200), "4": (3, 900), "5": (0, 950)}
    cells = [
        ({"search.n": n}, [result_line(f"t{i}", i < good, tokens_in=tokens) for i in range(4)])
        for n, (good, tokens) in shares.items()
    ]
    charts = dict(draw_costs(read_sweep(write_sweep(tmp_path, cells))))
    assert set(charts) == {"cost-tokens", "cost-seconds"}  # no prices are known
    rest, best = charts["cost-tokens"].lines
    assert [point.label for point in best.points] == ["n=1", "n=3", "n=4"]
    assert [point.x for point in best.points] == [110, 210, 910] and len(rest.points) == 2


def test_of_losses_the_lowest_is_the_best(tmp_path: Path) -> None:
    losses = {"1e-5": (0.1, 0.9), "1e-4": (0.3, 0.5), "1e-3": (0.2, 0.7)}
    cells = [
        ({"optimizer.lr": rate}, [result_line("t", True) | {"metrics": {"loss": loss, "validation_loss": validation}}])
        for rate, (loss, validation) in losses.items()
    ]
    sweep = read_sweep(write_sweep(tmp_path, cells))
    assert sweep.metric == "validation_loss" and sweep.find_best().label == "lr=1e-4"


def test_a_heat_map_orders_numbers_and_leaves_failed_cells_empty(tmp_path: Path) -> None:
    grid = [(width, n) for width in ("16", "2") for n in ("8", "4")]
    cells = [
        ({"search.width": width, "search.n": n}, [] if (width, n) == ("2", "8") else [result_line("t", width == "16")])
        for width, n in grid
    ]
    [(name, chart)] = draw_heat_maps(read_sweep(write_sweep(tmp_path, cells)))
    assert name == "heat-map-search.width-search.n"
    assert (chart.x_values, chart.y_values) == (["4", "8"], ["2", "16"])
    assert chart.values == {("4", "16"): 1.0, ("8", "16"): 1.0, ("4", "2"): 0.0}


def test_calibration_and_regret_of_prms_and_failed_cells_are_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    hostile = "<script>broken()</script>"
    lines = [result_line("a task/1", True, seconds=9.0, usd=0.25), result_line("t2", False, usd=0.5)]
    sweep = write_sweep(tmp_path, [({"reward": hostile}, lines), ({"reward": "other"}, [])])
    prms = [write_prm_result(tmp_path / "evaluate_prm" / name, regret) for name, regret in (("a", 0.1), ("b", 0.2))]
    printed = show(f"dashboard.sweep={sweep}", f"dashboard.prm_runs=[{prms[0]},{prms[1]}]")
    assert "Left out: 1 cell of 2 without a result; the first, reward=other: failed: no model" in printed
    assert "pip install 'codetool[dashboard]'" in printed and not (sweep / "workspace.json").exists()
    page = Page(sweep / "dashboard.html")
    [regret] = [figure for title, figure in page.figures.items() if title.startswith("Selection regret")]
    [calibration] = [figure for title, figure in page.figures.items() if title.startswith("Calibration")]
    assert "at random" in regret and "a (ECE 0.100)" in calibration
    assert "script" not in page.tags and hostile in page.text
    assert any(link.endswith("cell-0/report.html#task-a%20task%2F1") for link in page.links)
    tasks = [row[0] for row in page.rows if row[-1].startswith("What is")]
    assert tasks == ["a task/1", "t2", "t2", "a task/1"]  # the slowest ones, then the costliest ones


def test_one_cell_is_shown_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sweep = write_sweep(tmp_path, [({"search.n": "2"}, [result_line("t", True)])])
    assert "The sweep has one cell, so that there is nothing to compare" in show(f"dashboard.sweep={sweep}")
    assert list(Page(sweep / "dashboard.html").figures) == ["success of the cells, 95 % intervals over tasks"]


def write_no_results(folder: Path) -> Path:
    return write_sweep(folder, [({"search.n": "2"}, []), ({"search.n": "4"}, [])])


def write_other_table(folder: Path) -> Path:
    (folder / "cells.csv").write_text("a,b\n1,2\n")
    return folder


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda folder: folder / "none", (), "is no folder of a sweep that has ended: there is no such folder"),
        (lambda folder: folder, (), "is no folder of a sweep that has ended: there is no cells.csv in it"),
        (write_other_table, (), "is not the table of a sweep"),
        (write_no_results, (), "none of its 2 cells has a result; the first: failed: no model"),
        (write_no_results, ("dashboard.prm_runs=[nowhere]",), "none of its 2 cells has a result"),
    ],
)
def test_a_folder_without_results_is_refused(make: Any, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        show(f"dashboard.sweep={make(tmp_path)}", *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ((), ConfigError, "dashboard.sweep is not set"),
        (("dashboard.project=films", "dashboard.prm_runs=[x]"), ConfigError, "are shown on the page of a sweep"),
        (("dashboard.project=films",), MissingError, "needs the package wandb-workspaces. Install it: pip install"),
    ],
)
def test_what_is_missing_is_named(
    words: tuple[str, ...], error: type[CodeToolError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if error is MissingError:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(error, match=re.escape(message)):
        show(*words)


def test_a_folder_that_is_no_prm_result_is_refused(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, [({"search.n": "2"}, [result_line("t", True)])])
    with pytest.raises(ConfigError, match="is no folder of stage=evaluate_prm"):
        show(f"dashboard.sweep={sweep}", f"dashboard.prm_runs={tmp_path}")


@pytest.fixture
def server(nobody: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandBServer]:
    with wandb_server() as opened:
        monkeypatch.setenv("WANDB_BASE_URL", opened.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield opened


def list_views(server: WandBServer) -> list[dict[str, Any]]:
    """The variables of each question that stored a workspace or a report."""
    bodies = [json.loads(body) for path, body in server.requests if path == "/graphql"]
    return [body["variables"] for body in bodies if "upsertView" in body["query"]]


@pytest.mark.slow
def test_the_workspace_and_the_report_are_saved_once_and_then_replaced(tmp_path: Path, server: WandBServer) -> None:
    cells = [({"search.n": n, "reward": r}, [result_line("t", n == "2")]) for n in ("2", "4") for r in ("a", "b|c")]
    sweep = write_sweep(tmp_path, cells)
    for _ in range(2):
        printed = show(f"dashboard.sweep={sweep}", "dashboard.project=films")
        assert f"W&B workspace: {server.url}/me/films?nw=" in printed
        assert f"W&B report: {server.url}/me/films/reports/Sweep-by-hand--" in printed
    workspace, report, *again = list_views(server)
    assert [view["id"] for view in again] == ["view-1", "view-2"] and "id" not in workspace
    assert again[0]["name"] == workspace["name"]
    spec = json.loads(report["spec"])
    text = json.dumps(spec, ensure_ascii=False)
    assert "Success against cost" in text and "| n=2 reward=b\\\\|c | 100.0 % | [run]" in text
    assert f"{server.url}/me/films/artifacts/report/report-cell-0" in text
    runsets = [runset for block in spec["blocks"] for runset in block.get("metadata", {}).get("runSets", ())]
    assert {runset["filters"]["filters"][0]["value"] for runset in runsets} == {"by-hand"}
    uploaded = [path for path, _ in server.requests if path.startswith("/store/media/html/")]
    assert {"by-search.n", "cost-tokens", "ablation-cells"} <= {
        path.rpartition("/")[2].split("_0_")[0] for path in uploaded
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "message"), [(401, "does not accept the API key"), (0, "did not answer within 0.5 s")]
)
def test_a_server_that_refuses_or_keeps_silent_costs_one_line(
    status: int, message: str, tmp_path: Path, nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = write_sweep(tmp_path, [({"search.n": n}, [result_line("t", True)]) for n in ("2", "4")])
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server(lambda text: status) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        printed = show(f"dashboard.sweep={sweep}", "dashboard.project=films", "dashboard.connect_timeout=0.5")
    assert f"{message}. The files above are written; the same command tries again." in printed
    assert KEY not in printed and (sweep / "workspace.json").is_file()


@pytest.mark.browser
@pytest.mark.skipif(program() is None and "CI" not in os.environ, reason=f"needs one of {', '.join(NAMES)}")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_every_figure_and_asks_for_nothing(dark: bool, tmp_path: Path, nobody: None) -> None:
    cells = [({"search.n": n, "reward": r}, [result_line("t", n == "2")]) for n in ("2", "4") for r in ("a", "b")]
    sweep = write_sweep(tmp_path, cells)
    show(f"dashboard.sweep={sweep}")
    with browser() as window:
        window.look(800, 900, dark=dark)
        window.open((sweep / "dashboard.html").as_uri())
        widths = window.js("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) == 6 and all(widths)
        assert window.js("document.documentElement.scrollWidth") <= 800
        assert not window.complaints
        assert all(url.startswith(("file:", "data:")) for url in window.requests)
