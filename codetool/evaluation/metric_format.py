"""Format metric values for people."""

from __future__ import annotations

from codetool.evaluation.metrics import is_share

MIN_FIXED = 0.005
"""Amounts below it, such as prices of a task, are shown with their first digits instead of as 0.00."""


def format_percent(share: float) -> str:
    """Return a share in [0, 1] in percent, with one decimal."""
    return f"{100 * share:.1f} %"


def format_metric(name: str, value: float | None, decimals: int = 2) -> str:
    """Return the value of a metric: in percent if it is a rate or share, else with `decimals`; empty for None."""
    if value is None:
        return ""
    if is_share(name):
        return format_percent(value)
    if "flops" in name:
        return f"{value:.3g}"
    return f"{value:,.{decimals}f}" if abs(value) >= MIN_FIXED or not value else f"{value:.{decimals}g}"
