"""Render `report.html`, which shows a whole run in one file that a browser opens from disk, without a network.

The data are embedded as deflated JSON in base64, so that no text of a model or a tool can end a script or become
markup; the page shows them as text nodes only. Each task's tree is a script element of its own that is unpacked when
the task is opened, so that a page of a thousand tasks opens quickly. `report_page/` holds the Jinja template, the style
and the scripts; the template is filled as trees come in, so that one tree at a time is held.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from markupsafe import Markup

from codetool.evaluation.html_templates import load_template, read_markup
from codetool.evaluation.metrics import is_share
from codetool.evaluation.summary import RunSummary, encode_summary
from codetool.types import JSON, Task

PAGE_FOLDER = Path(__file__).parent / "report_page"
SCRIPTS = ("data", "python", "summary", "tasks", "prompts", "tree", "main")
"""Names of the page's scripts, in their order."""
ZLIB_LEVEL = 1
"""Compression level; level 6 takes five times as long and makes files a seventh smaller."""


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """How a run was made: its settings, code and environment."""

    name: str
    """Name of the run folder."""
    written: str
    """Local date and time of the report, formatted."""
    config: str
    """Text of `config.yaml`."""
    settings: Mapping[str, JSON]
    """Settings that determine the result."""
    made_from: Mapping[str, str]
    """CodeTool's version, its code, and the checksums of the data, by name."""
    sandbox_layers: tuple[str, ...]
    """Layers of the sandbox that ran generated code; several entries if a run was continued on another machine."""
    notes: tuple[str, ...] = ()
    """Remarks shown above the results."""


class PromptSource(Protocol):
    """The prompts of a run, encoded for the page as `prompt_encoding` describes."""

    def encode_tree(self, tree: Mapping[str, Any], task: Task) -> JSON:
        """Return the prompts of a tree's steps."""
        ...

    def list_lines(self) -> Sequence[str]:
        """Return the lines that the prompts encoded so far share."""
        ...


def render_page(
    about: ReportContext,
    summary: RunSummary,
    lines: Sequence[Mapping[str, Any]],
    trees: Iterable[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    prompts: PromptSource | None = None,
) -> Iterator[bytes]:
    """Yield the page in parts, with result lines in the given order.

    Trees are consumed one at a time. `tasks`, by id, add the expected answer, the gold path and the template to a line;
    it may lack any task. With `prompts` the page shows what was read at each step of the tasks in `tasks`.
    """
    script = Markup('"use strict";\n') + read_markup(*(PAGE_FOLDER / f"{name}.js" for name in SCRIPTS))
    page = load_template(PAGE_FOLDER / "page.html.jinja").generate(
        title=about.name,
        style=read_markup(PAGE_FOLDER / "style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_embed_run(about, summary, lines, trees, tasks, prompts),
    )
    yield from (part.encode() for part in page)


def _embed_run(
    about: ReportContext,
    summary: RunSummary,
    lines: Sequence[Mapping[str, Any]],
    trees: Iterable[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    prompts: PromptSource | None,
) -> Iterator[tuple[str, Markup]]:
    """Yield the name of each script element of data and its content: the trees, the result lines, and the run."""
    indexes = {str(line["task_id"]): index for index, line in enumerate(lines)}
    counts = _CallCounts()
    for tree in trees:
        if (index := indexes.pop(str(tree["task_id"]), None)) is not None:
            counts.add(tree)
            yield f"tree-{index}", _pack(tree)
            if prompts is not None and (task := tasks.get(str(tree["task_id"]))) is not None:
                yield f"prompts-{index}", _pack(prompts.encode_tree(tree, task))
    if prompts is not None:
        yield "prompt-lines", _pack(prompts.list_lines())
    yield "lines", _pack([_add_task_facts(line, tasks.get(str(line["task_id"]))) for line in lines])
    yield "run", _pack(_build_run_data(about, summary, counts))


def _pack(value: JSON) -> Markup:
    """Return a value as deflated JSON in base64."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_replace_non_finite(value), separators=(",", ":"))
    return Markup(base64.b64encode(zlib.compress(text.encode("ascii"), ZLIB_LEVEL)).decode("ascii"))


def _replace_non_finite(value: JSON) -> JSON:
    """Return the value with NaN and infinities as text, since JSON.parse rejects them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _replace_non_finite(item) for name, item in value.items()}
    return [_replace_non_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _add_task_facts(line: Mapping[str, Any], task: Task | None) -> dict[str, JSON]:
    """Return the result line with the task's template, gold path and expected answer."""
    answer = task.answer if task else None
    return {
        **line,
        "template": task.template if task else None,
        "gold": list(task.gold) if task else [],
        "expected": {"type": answer.type, "value": answer.value} if answer else None,
    }


def _build_run_data(about: ReportContext, summary: RunSummary, counts: _CallCounts) -> dict[str, JSON]:
    return {
        "name": about.name,
        "written": about.written,
        "config": about.config,
        "settings": dict(about.settings),
        "made_from": dict(about.made_from),
        "confined": list(about.sandbox_layers),
        "notes": list(about.notes),
        "metrics": encode_summary(summary),
        "percent": [name for name in summary.metrics if is_share(name)],
        "nodes": counts.nodes,
        "calls": counts.list_rows(),
    }


@dataclass
class _CallCounts:
    """Number of steps, and of tool calls by the source of the answer and by effect."""

    nodes: int = 0
    calls: dict[tuple[str | None, str], list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0.0]))

    def add(self, tree: Mapping[str, Any]) -> None:
        self.nodes += len(tree["nodes"])
        for node in tree["nodes"]:
            for call in node["execution"]["calls"] if node["execution"] else ():
                count = self.calls[call["provenance"], call["effect"]]
                count[0] += 1
                count[1] += call["provenance"] is None or not 200 <= call["http_status"] < 300
                count[2] += call["seconds"]

    def list_rows(self) -> list[dict[str, JSON]]:
        """Return a row for each source and effect, the most frequent first."""
        rows = [
            {"provenance": provenance, "effect": effect, "calls": calls, "failed": failed, "seconds": seconds}
            for (provenance, effect), (calls, failed, seconds) in self.calls.items()
        ]
        return sorted(rows, key=lambda row: (-row["calls"], str(row["provenance"]), row["effect"]))
