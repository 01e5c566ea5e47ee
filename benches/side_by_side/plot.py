"""The plot: one panel for each scenario, one bar for each peer."""

from __future__ import annotations

from side_by_side.bench import Results
from side_by_side.report import Run


def svg(run: Run, all_results: list[Results]) -> str:
    """The whole plot."""
    return ""
