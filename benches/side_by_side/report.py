"""Results as tables, as Markdown and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from side_by_side.bench import Column
from side_by_side.bench import Results
from side_by_side.bench import Sample
from side_by_side.bench import Scenario


@dataclass(frozen=True)
class Run:
    """What a report says of the whole run."""

    command: str
    begun: str
    rounds: int
    seconds: int
    machine: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]


def table(results: Results) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    columns = [column for column in results.scenario.columns if _is_measured(results, column)]
    rows = [["", *(column.title for column in columns)]]
    for peer in results.rounds:
        rows.append([peer, *(_cell(results, peer, column) for column in columns)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def findings(results: Results) -> str:
    """One scenario: its note, its table, and who is not in it."""
    missing = [f"* {peer}: not measured: {_one_line(reason)}" for peer, reason in results.missing.items()]
    failed = [f"* {peer}: FAILED {_one_line(reason)}" for peer, reason in results.failed.items()]
    parts = [results.scenario.note, table(results) if results.rounds else "", "\n".join(missing + failed)]
    return "\n\n".join(part for part in parts if part)


def markdown(run: Run, all_results: list[Results]) -> str:
    """The whole run as a page."""
    facts = [
        f"* {run.begun}, `{run.command}`",
        f"* {', '.join(f'{name} {value}' for name, value in run.machine.items())}",
        f"* {', '.join(f'{name} {value}' for name, value in run.versions.items())}",
        *(f"* {name}: not here: {_one_line(reason)}" for name, reason in run.missing.items()),
    ]
    introduction = (
        f"Medians of {run.rounds} alternating rounds of {run.seconds} s (more or fewer where a scenario needs it), with "
        "the smallest and the largest in parentheses. The peer has one worker on a CPU of its own; load generator and "
        "backends share another. The kernel counts CPU time exactly, and samples how it divides into user and system. "
        "`of relay` compares a round's CPU time with that of a raw TCP relay in the same round."
    )
    head = ["# Side by side", introduction, "\n".join(facts), "![CPU time of each peer](side-by-side.svg)"]
    sections = [
        f"## {results.scenario.name}: {results.scenario.title}\n\n{findings(results)}" for results in all_results
    ]
    return "\n\n".join([*head, *sections]) + "\n"


def save(folder: Path, run: Run, all_results: list[Results], plot: str) -> None:
    """Writes the page, the raw rounds and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "side-by-side.md").write_text(markdown(run, all_results))
    (folder / "side-by-side.json").write_text(json.dumps(_document(run, all_results), indent=1) + "\n")
    (folder / "side-by-side.svg").write_text(plot)


def glance(scenario: Scenario, sample: Sample) -> str:
    """One peer in one round, on one line."""
    columns = [column for column in scenario.columns if column.key in sample]
    return ", ".join(f"{column.title} {number(sample[column.key], column.digits)}" for column in columns)


def number(value: float, digits: int) -> str:
    """A figure with thousands set apart."""
    return f"{value:,.{digits}f}"


def _document(run: Run, all_results: list[Results]) -> dict[str, object]:
    scenarios = {
        results.scenario.name: {
            "title": results.scenario.title,
            "rounds": {peer: [_rounded(sample) for sample in samples] for peer, samples in results.rounds.items()},
            "missing": results.missing,
            "failed": results.failed,
        }
        for results in all_results
    }
    return {**vars(run), "scenarios": scenarios}


def _rounded(sample: Sample) -> Sample:
    return {key: float(f"{value:.5g}") for key, value in sample.items()}


def _is_measured(results: Results, column: Column) -> bool:
    return any(results.values(peer, column.key) for peer in results.rounds)


def _cell(results: Results, peer: str, column: Column) -> str:
    values = results.values(peer, column.key)
    median = results.median(peer, column.key)
    if median is None:
        return "-"
    # An error in one round of five would vanish in the median.
    if column.key.startswith("errors"):
        return number(sum(values), 0)
    text = number(median, column.digits)
    if column.interval and len(values) > 1:
        text += f" ({number(min(values), column.digits)}–{number(max(values), column.digits)})"
    return text


def _line(row: list[str], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())
