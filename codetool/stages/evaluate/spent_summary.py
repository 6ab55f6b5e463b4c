"""Describe what all commands of a run folder have really spent, by component, for `metrics.json` and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from codetool.costs.rates import FLOPS_PER_PARAMETER, Rates
from codetool.stages.spent_journal import read_spent

COMPONENTS = ("policy", "prm", "answer", "simulator", "judge", "sandbox", "tools")
"""Components in the order in which they are shown."""
COLUMNS = {
    "requests": "requests", "tokens_in": "tokens in", "tokens_in_cached": "cached", "tokens_out": "tokens out",
    "wall_seconds": "wall s", "busy_seconds": "busy s", "usd": "USD", "flops": "FLOPs",
}  # fmt: skip


def summarize_spent(folder: Path, rates: Rates) -> dict[str, dict[str, float]]:
    """Return the amounts of each component, with price and operations where they are known, and `run` with `seconds`.

    Empty for a folder that was written before `spent.jsonl` was.
    """
    summary: dict[str, dict[str, float]] = {}
    for name, amounts in read_spent(folder).items():
        tokens = int(amounts["tokens_in"]), int(amounts["tokens_out"])
        summary[name] = {key: round(amount, 3) for key, amount in sorted(amounts.items())}
        if name in rates.prices and (usd := rates.prices[name](*tokens)) is not None:
            summary[name]["usd"] = usd
        if name in rates.parameters and any(tokens):
            summary[name]["flops"] = FLOPS_PER_PARAMETER * rates.parameters[name] * (tokens[0] + tokens[1])
    return summary


def build_spent_table(spent: Mapping[str, Mapping[str, float]]) -> Table | None:
    """Return a table with a row for each component that was used; None without any."""
    rows = [(name, spent[name]) for name in COMPONENTS if name in spent]
    columns = {key: title for key, title in COLUMNS.items() if any(amounts.get(key) for _, amounts in rows)}
    if not columns:
        return None
    table = Table("spent by", box=None, pad_edge=False, header_style="bold")
    for title in columns.values():
        table.add_column(title, justify="right")
    for name, amounts in rows:
        table.add_row(name, *(_format_amount(key, amounts.get(key)) for key in columns))
    return table


def describe_lost(spent: Mapping[str, Mapping[str, float]], totals: Mapping[str, float | None]) -> Iterator[str]:
    """Yield a line if the policy or the PRM was asked more than the results have cost."""
    names = {"policy": ("tokens_in", "tokens_out"), "prm": ("prm_tokens",)}
    lost = {}
    for component, fields in names.items():
        if component not in spent:
            continue
        asked = spent[component].get("tokens_in", 0) + (
            spent[component].get("tokens_out", 0) if component == "policy" else 0
        )
        if (more := int(asked - sum(totals.get(field) or 0 for field in fields))) > 0:
            lost[component] = more
    if lost:
        parts = ", ".join(f"{name} {tokens:,}" for name, tokens in lost.items())
        yield f"tokens beyond those of the results (attempts that were killed or failed, unused answers): {parts}"


def _format_amount(key: str, amount: Any) -> str:
    if not amount:
        return ""
    if key == "flops":
        return f"{amount:.3g}"
    return f"{amount:,.4f}" if key == "usd" else f"{amount:,.1f}" if key.endswith("seconds") else f"{amount:,.0f}"
