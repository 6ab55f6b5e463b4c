"""Format metric values for people."""

from __future__ import annotations

from codetool.evaluation.metrics import is_share


def format_percent(share: float) -> str:
    """Return a share in [0, 1] in percent, with one decimal."""
    return f"{100 * share:.1f} %"


def format_metric(name: str, value: float | None, decimals: int = 2) -> str:
    """Return the value of a metric: in percent if it is a rate or share, else with `decimals`; empty for None."""
    if value is None:
        return ""
    return format_percent(value) if is_share(name) else f"{value:,.{decimals}f}"
