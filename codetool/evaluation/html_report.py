"""`report.html`: a whole run in one file that a browser opens from disk, without a network.

The data stand in the page as deflated JSON in base64, in which nothing that a model or a tool wrote can end a script or
become markup; the page shows them as text nodes only. Each task's tree is a script of its own that is unpacked when
somebody opens the task, so that a thousand tasks open at once. `report_page/` holds the page, its style and its code.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codetool.evaluation.metrics import RATES, SHARES
from codetool.evaluation.summary import RunSummary, encode_summary
from codetool.types import JSON, Task

PAGE_FOLDER = Path(__file__).parent / "report_page"
SCRIPTS = ("data", "python", "summary", "tasks", "tree", "main")
"""The page's scripts in the order in which they stand in it."""
ZLIB_LEVEL = 1
"""Of zlib: level 6 takes five times as long for files a seventh smaller."""


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What made a run, beside its journals."""

    name: str
    """Of the run folder."""
    written: str
    """When the report was written, for people."""
    config: str
    """Text of `config.yaml`."""
    settings: Mapping[str, JSON]
    """The same, read."""
    made_from: Mapping[str, str]
    """What else determines the result: our version and checksums, by name."""
    sandbox_layers: tuple[str, ...]
    """What confined generated code; several where a run was continued elsewhere."""
    notes: tuple[str, ...] = ()
    """What a reader must know before anything else."""


def render_page(
    about: ReportContext,
    summary: RunSummary,
    lines: Sequence[Mapping[str, Any]],
    trees: Iterable[Mapping[str, Any]],
    tasks: Mapping[str, Task],
) -> Iterator[bytes]:
    """The page in parts: result lines in the order given, the trees of these lines, and what `tasks` know beyond them.

    Trees are read one at a time. `tasks` by id add the expected answer, the gold path and the template; it may lack
    any of them.
    """
    text = "".join((PAGE_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{text}'
    values = {
        "style": (PAGE_FOLDER / "style.css").read_text(encoding="utf-8"),
        "hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        "title": html.escape(about.name),
    }
    frame = (PAGE_FOLDER / "page.html").read_text(encoding="utf-8")
    for name, value in values.items():
        frame = frame.replace("{{" + name + "}}", value)
    yield frame.encode()
    places = {str(line["task_id"]): place for place, line in enumerate(lines)}
    counts = _CallCounts()
    for tree in trees:
        if (place := places.pop(str(tree["task_id"]), None)) is not None:
            counts.add(tree)
            yield from _embed_data(f"tree-{place}", tree)
    yield from _embed_data("lines", [_add_task_facts(line, tasks.get(str(line["task_id"]))) for line in lines])
    yield from _embed_data("run", _build_run_data(about, summary, counts))
    yield f"<script>{script}</script>\n</body>\n</html>\n".encode()


def _embed_data(name: str, value: JSON) -> Iterator[bytes]:
    """A script element that no browser runs."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_replace_non_finite(value), separators=(",", ":"))
    packed = zlib.compress(text.encode("ascii"), ZLIB_LEVEL)
    yield f'<script type="application/octet-stream" id="{name}">'.encode()
    yield base64.b64encode(packed)
    yield b"</script>\n"


def _replace_non_finite(value: JSON) -> JSON:
    """The value with NaN and infinities, which browsers do not read, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _replace_non_finite(item) for name, item in value.items()}
    return [_replace_non_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _add_task_facts(line: Mapping[str, Any], task: Task | None) -> dict[str, JSON]:
    """The result line and what the task knows beyond it."""
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
        "percent": [*RATES, *SHARES],
        "nodes": counts.nodes,
        "calls": counts.list_rows(),
    }


@dataclass
class _CallCounts:
    """Steps, and tool calls by who answered them and by effect."""

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
        """The most frequent first."""
        rows = [
            {"provenance": provenance, "effect": effect, "calls": calls, "failed": failed, "seconds": seconds}
            for (provenance, effect), (calls, failed, seconds) in self.calls.items()
        ]
        return sorted(rows, key=lambda row: (-row["calls"], str(row["provenance"]), row["effect"]))
