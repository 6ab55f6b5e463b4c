"""Format the results of the ablation as Markdown: the searches, their differences, and a note on how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cells import CELLS

GROUPS = ("all", "seen", "unseen")
Found = Mapping[str, Any] | None
"""An estimate, None where there is none yet."""


def markdown(content: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of both tables and of the note below them."""
    yield from _searches(content)
    yield ""
    if content["differences"]:
        yield from _differences(content)
        yield ""
    yield _note(content)


def _searches(content: Mapping[str, Any]) -> Iterator[str]:
    titles = {cell.name: cell.title for cell in CELLS}
    head = ("search", "success", "seen", "unseen", "SCEP", "tokens", "PRM tokens", "tool calls", "s")
    yield _row(head)
    yield _row(["---"] * len(head))
    for name, cell in content["cells"].items():
        rates = [_rate(cell["success"][group]) for group in GROUPS]
        amounts = [_amount(cell[metric]["all"]) for metric in ("tokens", "prm_tokens", "tool_calls")]
        seconds = f"{cell['seconds']['value']:.1f}" if cell["seconds"] else "–"
        yield _row([f"{_shown(name)}: {titles[name]}", *rates, _rate(cell["scep"]["all"]), *amounts, seconds])


def _differences(content: Mapping[str, Any]) -> Iterator[str]:
    head = ("success, points", "all", "seen", "unseen")
    yield _row(head)
    yield _row(["---"] * len(head))
    for each in content["differences"]:
        yield _row(
            [
                f"{_shown(each['first'])} − {_shown(each['second'])}",
                *(_points(each["success"][group]) for group in GROUPS),
            ]
        )


def _note(content: Mapping[str, Any]) -> str:
    tasks, seeds = content["tasks"], ", ".join(map(str, content["seeds"]))
    known, new = (tasks[group]["tasks"] for group in ("seen", "unseen"))
    told = [
        f"{tasks['all']['tasks']} tasks of {content['split']}, {known} of them with a template seen in train, {new} "
        f"unseen; seeds {seeds}, averaged within a task; 95 % intervals of {content['draws']:,} draws of tasks and, "
        "after the semicolon, of whole templates; amounts a task."
    ]
    timed = [cell["seconds"]["tasks"] for cell in content["cells"].values() if cell["seconds"]]
    told += [f"s: wall time a task of {timed[0]} tasks at once."] if timed else []
    failed = [f"{name} {cell['failed']}" for name, cell in content["cells"].items() if cell["failed"]]
    told += [f"Failed internally and counted as unsolved: {', '.join(failed)}."] if failed else []
    told += [f"Not finished: {'; '.join(content['missing'])}."] if content["missing"] else []
    return " ".join(told)


def _shown(name: str) -> str:
    return name.replace("_", " ")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(found: Found) -> str:
    return _estimate(found, lambda value: f"{100 * value:.1f}", " %", ("interval",))


def _points(found: Found) -> str:
    return _estimate(
        found, lambda value: f"{100 * value:+.1f}".replace("-", "−"), "", ("interval", "template_interval")
    )


def _amount(found: Found) -> str:
    return "–" if found is None else f"{found['value']:,.0f}" if found["value"] >= 100 else f"{found['value']:.1f}"


def _estimate(found: Found, shown: Callable[[float], str], unit: str, intervals: Sequence[str]) -> str:
    """Format a value with its intervals in brackets."""
    if found is None:
        return "–"
    bounds = [found[name] for name in intervals if found[name]]
    text = "; ".join(f"{shown(low)} … {shown(high)}" for low, high in bounds)
    return f"{shown(found['value'])}{unit}" + (f" ({text})" if text else "")
