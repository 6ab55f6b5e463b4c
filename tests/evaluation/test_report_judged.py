"""What a judge said, as the report shows it in headless Chromium. Where CI is set, it fails without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cdp_browser import NAMES, browser, program
from report_world import HOSTILE, LINES, html

from codetool.evaluation.judged_results import join_votes

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(program() is None and "CI" not in os.environ, reason=f"needs one of {', '.join(NAMES)}"),
]


def test_votes_stand_in_the_table_on_the_card_and_beside_the_answer(tmp_path: Path) -> None:
    said = {"labels": ["Solved", "Unsure", "Solved"], "reason": f"half of it {HOSTILE}", "sopr": 2.5 / 3}
    lines = [join_votes(LINES[4], said), *LINES[:4]]
    (tmp_path / "report.html").write_text(html(lines), encoding="utf-8")
    with browser() as window:
        window.look(1280, 900)
        window.open((tmp_path / "report.html").as_uri())
        window.wait("document.documentElement.dataset.ready")
        heads = window.js("[...document.querySelectorAll('#tasks th')].map(each => each.innerText.trim())")
        assert "sopr" in heads
        window.js("document.querySelector('#tasks button[data-order=sopr]').click(); 0")
        assert "0.833" in window.js("document.querySelector('#tasks tbody tr').innerText")
        overview = window.js("document.querySelector('#overview').innerText")
        assert "sopr: standard error over tasks" in overview and "deviation over rounds of votes" in overview
        window.js("location.hash = '#task-t5'; 0")
        window.wait("!byId('task').hidden")
        facts = window.js("byId('task').innerText")
        assert "Solved, Unsure, Solved: half of it" in facts
        assert not window.complaints
