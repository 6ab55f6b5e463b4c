"""The report as somebody sees it, in headless Chromium. Where CI is set, they fail without one."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cdp_browser import NAMES, Browser, browser, program
from report_world import HOSTILE, LINES, TREES, hostile, html, line, node, tree

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(program() is None and "CI" not in os.environ, reason=f"needs one of {', '.join(NAMES)}"),
]
READY = "document.documentElement.dataset.ready"
TREE = "document.querySelector('[role=treeitem]')"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def shown(window: Browser, folder: Path, text: str, anchor: str = "") -> Browser:
    """The window with the report open at 1280 × 900, nothing asked for or complained about before."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    window.open("about:blank")
    window.look(1280, 900)
    window.requests.clear()
    window.complaints.clear()
    window.open(file.as_uri() + anchor)
    window.wait(READY)
    return window


@pytest.fixture
def report(window: Browser, tmp_path: Path) -> Browser:
    return shown(window, tmp_path, html())


def tasks(report: Browser) -> list[str]:
    names: list[str] = report.js("[...document.querySelectorAll('#tasks tbody a')].map(a => a.textContent)")
    return names


def choose(report: Browser, field: str, value: str) -> None:
    report.js(f"byId('{field}').value = {value!r}; byId('filter').dispatchEvent(new Event('input')); 0")


def words(report: Browser, where: str) -> str:
    text: str = report.js(f"document.querySelector('{where}').innerText")
    return text


def test_the_summary_has_intervals_errors_provenance_and_what_made_it(report: Browser) -> None:
    text = words(report, "#overview")
    for part in (
        "Something to know first.", "25.0\xa0%", "by template", "wrong_tool", "exception:KeyError", "replica", "nobody",
        "policy tokens out", "seccomp: allow-list", "ab12", "beam · width 2", "failed internally",
    ):  # fmt: skip
        assert part in text, part


def test_huge_amounts_are_powers_of_ten(report: Browser) -> None:
    shown_numbers = report.js("[834620786304, 1075312973952, 1234567, 0.5, 0].map(number)")
    assert shown_numbers == ["8.35e+11", "1.08e+12", "1,234,567", "0.5", "0"]


def test_an_unfinished_run_says_so(window: Browser, tmp_path: Path) -> None:
    report = shown(window, tmp_path, html(asked=9))
    assert "unfinished: 5 of 9 tasks" in words(report, "#state")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("f-text", "ANSWER about t2", ["t2"]),
        ("f-outcome", "solved", ["t1"]),
        ("f-outcome", "unsolved", ["t2", "t3"]),
        ("f-outcome", "internal", ["t4"]),
        ("f-outcome", "unchecked", ["t5"]),
        ("f-kind", "exception:KeyError", ["t3"]),
        ("f-template", "films", ["t1"]),
        ("f-text", "nothing like it", []),
    ],
)
def test_the_table_is_filtered(report: Browser, field: str, value: str, expected: list[str]) -> None:
    choose(report, field, value)
    assert tasks(report) == expected
    assert words(report, "#count").startswith(f"{len(expected)} of 5")
    report.js("document.querySelector('[type=reset]').click()")
    report.wait("document.querySelectorAll('#tasks tbody a').length === 5")


def test_a_click_on_an_error_kind_shows_its_tasks(report: Browser) -> None:
    report.js("[...document.querySelectorAll('.kinds button')].find(b => b.textContent.includes('wrong_tool')).click()")
    report.wait("document.querySelectorAll('#tasks tbody a').length === 1")
    assert tasks(report) == ["t2"]


def test_the_table_is_ordered_by_its_heads(report: Browser) -> None:
    order = "document.querySelector('[data-order=time]')"
    report.js(f"{order}.click()")
    assert tasks(report)[0] == "t3" and report.js(f"{order}.closest('th').ariaSort") == "descending"
    report.js(f"{order}.click()")
    assert tasks(report) == ["t1", "t2", "t4", "t5", "t3"]
    report.js("document.querySelector('[data-order=error]').click()")
    assert tasks(report)[:3] == ["t3", "t4", "t2"]


def test_a_task_shows_query_answer_expected_answer_and_gold_path(report: Browser) -> None:
    report.js("document.querySelector('#tasks tbody a').click()")
    report.wait(TREE)
    text = words(report, "#task")
    for part in ("What about t1?", "answer of t1", "expected list", '["A","B"]', "GET /search → GET /film/{id}"):
        assert part in text, part


def test_the_tree_marks_the_chosen_path_finished_nodes_and_merges(report: Browser) -> None:
    report.js("location.hash = '#task-t1'")
    report.wait(TREE)
    items = report.js(
        "[...document.querySelectorAll('[role=treeitem]')].map(i => [i.dataset.node, i.ariaLevel, i.innerText])"
    )
    marks = {name: (level, text) for name, level, text in items}
    assert list(marks) == ["1", "1-1", "1-2", "2"] and [marks[name][0] for name in marks] == ["1", "2", "2", "1"]
    assert {name for name in marks if "★ chosen" in marks[name][1]} == {"1", "1-2"}
    assert {name for name in marks if "■ finished" in marks[name][1]} == {"1-2"}
    assert {name for name in marks if "merged 3" in marks[name][1]} == {"1"}
    assert "latent 0.25" in marks["1"][1] and "latent" not in marks["2"][1] and "✗ exception" in marks["2"][1]
    assert "Σ 2.5" in marks["1-2"][1] and "spot 0" in marks["2"][1]


def test_beside_it_stands_the_path_with_code_observations_and_calls(report: Browser) -> None:
    report.js("location.hash = '#task-t1'")
    report.wait(TREE)
    text = words(report, ".panes > [role=region]")
    for part in (
        "print('1')  # note",
        "saw 1",
        "saw 1-2",
        "query=x page=1",
        "replica",
        "live",
        "write",
        "201",
        "250 ms",
    ):
        assert part in text, part
    assert report.js("document.querySelector('pre .c').textContent") == "# note"
    report.js("document.querySelector('[data-node=\"2\"]').click()")
    text = words(report, ".panes > [role=region]")
    assert "KeyError: 'id'" in text and "nobody" in text and "saw 1" not in text


def test_it_works_with_the_keyboard_alone(report: Browser) -> None:
    report.press("/")
    report.js("0")
    assert report.js("document.activeElement.id") == "f-text"
    report.js("document.querySelector('#tasks tbody a').focus()")
    report.press("Enter")
    report.wait(TREE)
    report.js("document.querySelector('[role=treeitem][tabindex=\"0\"]').focus()")
    seen = []
    for key in ("Home", "ArrowDown", "End", "ArrowUp", "ArrowLeft", "ArrowRight"):
        report.press(key)
        seen.append(report.js("document.activeElement.dataset.node"))
    assert seen == ["1", "1-1", "2", "1-2", "1", "1-1"]
    report.press("n")
    report.wait("byId('h-task')?.textContent.startsWith('t2')")
    report.press("Escape")
    report.wait("!byId('overview').hidden")


def test_neighbours_follow_the_filter(report: Browser) -> None:
    choose(report, "f-outcome", "unsolved")
    report.js("location.hash = '#task-t2'")
    report.wait("byId('h-task')?.textContent.startsWith('t2')")
    links = report.js("[...document.querySelectorAll('#task nav a')].map(a => a.hash)")
    assert links == ["", "#task-t3"]


@pytest.mark.parametrize(("anchor", "title"), [("#task-t3", "t3 · "), ("#task-unknown", "films"), ("#task-%", "films")])
def test_a_link_leads_to_a_task(window: Browser, tmp_path: Path, anchor: str, title: str) -> None:
    report = shown(window, tmp_path, html(), anchor)
    assert report.js("document.title").startswith(title)


def test_a_task_without_a_tree_says_so(report: Browser) -> None:
    report.js("location.hash = '#task-t4'")
    report.wait("byId('task').innerText.includes('No step was recorded')")
    assert "because of internal" in words(report, "#task")


def test_texts_of_others_stay_texts(window: Browser, tmp_path: Path) -> None:
    row, grown = hostile()
    report = shown(window, tmp_path, html([row, *LINES], [grown, *TREES]))
    report.js("document.querySelector('#tasks tbody a').click()")
    report.wait(TREE)
    report.js("document.querySelectorAll('details').forEach(d => d.open = true); new Promise(r => setTimeout(r, 50))")
    assert report.js("typeof window.broken") == "undefined"
    assert report.js("document.querySelectorAll('main img, main script').length") == 0
    text = words(report, "#task")
    assert "</script><script>window.broken=1</script>" in text
    assert "\\x00\\x1b[31m\\u{202e}\\u{2028}\\u{d83d} \U0001f600 &lt;" in text
    assert len(report.requests) == 1 and not report.complaints
    assert report.js("document.documentElement.scrollWidth <= innerWidth")
    assert HOSTILE not in text  # what is unseen has been made visible


def test_a_very_long_text_is_shown_in_part_until_asked_for(window: Browser, tmp_path: Path) -> None:
    row, grown = hostile()
    report = shown(window, tmp_path, html([row], [grown]))
    report.js("document.querySelector('#tasks tbody a').click()")
    report.wait(TREE)
    longest = "Math.max(...[...document.querySelectorAll('.step pre')].map(p => p.textContent.length))"
    assert report.js(longest) < 7000
    report.js("[...document.querySelectorAll('.step button')].find(b => b.textContent.includes('20,000')).click()")
    assert report.js(longest) == 20_000


def test_rows_are_made_as_they_are_scrolled_to(window: Browser, tmp_path: Path) -> None:
    rows = [line(f"t{place}", True) for place in range(1000)]
    report = shown(window, tmp_path, html(rows, [tree("t0")]))
    assert len(tasks(report)) < 700
    report.js("scrollTo(0, document.body.scrollHeight)")
    report.wait("document.querySelectorAll('#tasks tbody a').length >= 400")
    choose(report, "f-text", "t999")
    assert tasks(report) == ["t999"]


def test_a_thousand_tasks_open_within_two_seconds(window: Browser, tmp_path: Path) -> None:
    draw = random.Random(0)

    def text(characters: int) -> str:
        return "".join(draw.choices("abcdefghij klmno", k=characters))

    run = {"status": "ok", "error": None, "seconds": 0.1, "calls": []}
    grown = [node(f"{k}", "0", code=text(1000), execution=run | {"observation": text(1500)}) for k in range(1, 31)]
    rows = [line(f"t{place}", True) for place in range(1000)]
    report = shown(window, tmp_path, html(rows, [{"task_id": row["task_id"], "nodes": grown} for row in rows]))
    assert (tmp_path / "report.html").stat().st_size > 40e6
    assert int(report.js(READY)) < 2000


def test_it_asks_for_nothing_but_itself(report: Browser) -> None:
    report.js("location.hash = '#task-t1'")
    report.wait(TREE)
    assert [url.split("/")[-1] for url in report.requests] == ["report.html"]
    assert report.complaints == []


@pytest.mark.parametrize("anchor", ["", "#task-t1"])
def test_it_fits_a_narrow_screen(window: Browser, tmp_path: Path, anchor: str) -> None:
    report = shown(window, tmp_path, html(), anchor)
    report.look(360, 740)
    assert report.js("document.documentElement.scrollWidth") <= 360


INTERACTIVE = {"button", "link", "textbox", "searchbox", "combobox", "tree", "treeitem", "region", "form", "search"}


@pytest.mark.parametrize("anchor", ["", "#task-t1"])
def test_everything_that_can_be_used_has_a_name(window: Browser, tmp_path: Path, anchor: str) -> None:
    report = shown(window, tmp_path, html(), anchor)
    nodes = report.send("Accessibility.getFullAXTree")["nodes"]
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in INTERACTIVE and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert len([node for node in nodes if not node["ignored"] and node["role"]["value"] == "heading"]) >= 2


ON = {
    "page": ("ink", "soft", "accent"),
    "panel": ("ink", "soft", "accent", "good", "bad", "warn"),
    "chosen": ("ink", "soft", "accent"),
    "code": ("ink", "keyword", "string", "number", "comment", "name"),
}


@pytest.mark.parametrize("dark", [False, True])
def test_its_colours_can_be_read(report: Browser, dark: bool) -> None:
    report.look(1280, 900, dark=dark)
    names = sorted({*ON, *itertools.chain(*ON.values())})
    style = "getComputedStyle(document.documentElement)"
    read = f"Object.fromEntries({names}.map(name => [name, {style}.getPropertyValue('--' + name)]))"
    colours = {name: luminance(value.strip()) for name, value in report.js(read).items()}
    assert (colours["page"] < 0.1) == dark
    weak = [
        (over, under) for under, names in ON.items() for over in names if contrast(colours[over], colours[under]) < 4.5
    ]
    assert weak == []


def luminance(colour: str) -> float:
    """Relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Contrast ratio of two luminances, 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
