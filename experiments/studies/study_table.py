"""Format the results of a study as Markdown: the cells, their differences, and a note on how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

GROUPS = ("all", "seen", "unseen")
Estimate = Mapping[str, Any] | None
"""An estimate, None where there is none yet."""


def render_tables(content: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the tables and of the note below them; `titles` says what each cell does."""
    yield from _render_cells(content, titles)
    yield ""
    if content["differences"]:
        yield from _render_differences(content["differences"])
        yield ""
    if content.get("equal_compute"):
        yield from _render_equal_compute(content["equal_compute"])
        yield ""
    yield _render_note(content)


def _render_cells(content: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    head = ("search", "success", "seen", "unseen", "SCEP", "policy tokens", "PRM tokens", "tool calls", "s")
    yield _render_row(head)
    yield _render_row(["---"] * len(head))
    for name, cell in content["cells"].items():
        rates = [_render_rate(cell["success"][group]) for group in GROUPS]
        amounts = [_render_amount(cell[metric]["all"]) for metric in ("policy_tokens", "prm_tokens", "tool_calls")]
        seconds = f"{cell['seconds']['value']:.1f}" if cell["seconds"] else "–"
        label = f"{_spell(name)}: {titles[name]}"
        yield _render_row([label, *rates, _render_rate(cell["scep"]["all"]), *amounts, seconds])


def _render_differences(differences: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    head = ("success, points", "all", "seen", "unseen")
    yield _render_row(head)
    yield _render_row(["---"] * len(head))
    for each in differences:
        label = f"{_spell(each['first'])} − {_spell(each['second'])}"
        yield _render_row([label, *(_render_points(each["success"][group]) for group in GROUPS)])


def _render_equal_compute(compared: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    head = ("success at equal tokens, points", "baseline of equal cost", "tokens", "all", "seen", "unseen")
    yield _render_row(head)
    yield _render_row(["---"] * len(head))
    for each in compared:
        if each["success"] is None:
            baseline, points = "outside the curve", ["–"] * len(GROUPS)
        else:
            dearer = round(100 * each["weight"])
            baseline = f"{100 - dearer} % {_spell(each['cheaper'])}, {dearer} % {_spell(each['dearer'])}"
            points = [_render_points(each["success"][group]) for group in GROUPS]
        yield _render_row([_spell(each["cell"]), baseline, f"{each['tokens']:,.0f}", *points])


def _render_note(content: Mapping[str, Any]) -> str:
    tasks, seeds = content["tasks"], ", ".join(map(str, content["seeds"]))
    seen, unseen = (tasks[group]["tasks"] for group in ("seen", "unseen"))
    notes = [
        f"{tasks['all']['tasks']} tasks of {content['split']}, {seen} of them with a template seen in train, {unseen} "
        f"unseen; seeds {seeds}, averaged within a task; 95 % intervals of {content['draws']:,} draws of tasks and, "
        "after the semicolon, of whole templates; amounts a task."
    ]
    timed = [cell["seconds"]["tasks"] for cell in content["cells"].values() if cell["seconds"]]
    notes += [f"s: wall time a task of {timed[0]} tasks at once."] if timed else []
    failed = [f"{name} {cell['failed']}" for name, cell in content["cells"].items() if cell["failed"]]
    notes += [f"Failed internally and counted as unsolved: {', '.join(failed)}."] if failed else []
    notes += [f"Not finished: {'; '.join(content['missing'])}."] if content["missing"] else []
    return " ".join(notes)


def _spell(name: str) -> str:
    return name.replace("_", " ")


def _render_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _render_rate(estimate: Estimate) -> str:
    return _render_estimate(estimate, lambda value: f"{100 * value:.1f}", " %", ("interval",))


def _render_points(estimate: Estimate) -> str:
    return _render_estimate(
        estimate, lambda value: f"{100 * value:+.1f}".replace("-", "−"), "", ("interval", "template_interval")
    )


def _render_amount(estimate: Estimate) -> str:
    if estimate is None:
        return "–"
    return f"{estimate['value']:,.0f}" if estimate["value"] >= 100 else f"{estimate['value']:.1f}"


def _render_estimate(estimate: Estimate, format_: Callable[[float], str], unit: str, intervals: Sequence[str]) -> str:
    """Format a value with its intervals in brackets."""
    if estimate is None:
        return "–"
    bounds = [estimate[name] for name in intervals if estimate[name]]
    text = "; ".join(f"{format_(low)} … {format_(high)}" for low, high in bounds)
    return f"{format_(estimate['value'])}{unit}" + (f" ({text})" if text else "")
