"""The plot: a panel for each scenario, a bar for each peer, as SVG without scripts or outside resources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from side_by_side.bench import Results
from side_by_side.report import Run
from side_by_side.report import number

PANELS_PER_ROW = 3
MARGIN = 28
PANEL_WIDTH = 416
PANEL_GAP = 28
HEAD_HEIGHT = 104
PANEL_HEAD_HEIGHT = 46
ROW_HEIGHT = 22
BAR_HEIGHT = 14
PANEL_FOOT_HEIGHT = 26
NAME_WIDTH = 66
# Behind the longest bar stand the figures.
FIGURES_WIDTH = 160
BAR_WIDTH_MAX = PANEL_WIDTH - NAME_WIDTH - FIGURES_WIDTH

# The peer that this plot is about.
SUBJECT = "ringway"

# Colours that people with any kind of colour blindness tell apart (Okabe and Ito), on white and on black.
STYLE = """\
  text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f; }
  .title { font-size: 20px; font-weight: 600; }
  .name { font-weight: 600; font-size: 14px; }
  .subject { font-weight: 700; }
  .faint { fill: #57606a; }
  .ground { fill: #ffffff; }
  .track { fill: #eaeef2; }
  .user { fill: #0072b2; }
  .system { fill: #e69f00; }
  .plain { fill: #009e73; }
  .interval { stroke: #24292f; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .faint { fill: #9198a1; }
    .ground { fill: #0d1117; }
    .track { fill: #21262d; }
    .user { fill: #56b4e9; }
    .interval { stroke: #e6edf3; }
  }"""


@dataclass(frozen=True)
class Bar:
    """One peer in one panel: the median of each part, and how far the sum of the parts went over the rounds."""

    peer: str
    parts: tuple[float, ...]
    low: float
    high: float
    errors: int

    @property
    def length(self) -> float:
        return sum(self.parts)


def svg(run: Run, all_results: list[Results]) -> str:
    """The whole plot."""
    rows = [all_results[start : start + PANELS_PER_ROW] for start in range(0, len(all_results), PANELS_PER_ROW)]
    elements = list(_head(run))
    top = HEAD_HEIGHT
    for row in rows:
        for column, results in enumerate(row):
            elements.extend(_panel(results, MARGIN + column * (PANEL_WIDTH + PANEL_GAP), top))
        top += max(_panel_height(results) for results in row)
    columns = min(PANELS_PER_ROW, len(all_results))
    width = max(2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * PANEL_GAP, 760)
    size = f'width="{width}" height="{top}" viewBox="0 0 {width} {top}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="CPU time of each peer">'
    ground = f'<rect class="ground" width="{width}" height="{top}"/>'
    return "\n".join([opening, f"<style>\n{STYLE}\n</style>", ground, *elements, "</svg>"]) + "\n"


def _head(run: Run) -> Iterator[str]:
    machine = f"{run.machine['CPU']}, {run.machine['CPUs']} CPUs, Linux {run.machine['kernel']}"
    yield _text(MARGIN, 38, "Ringway beside other proxies", "title")
    yield _text(MARGIN, 60, f"{run.begun}; {machine}; medians of {run.rounds} rounds of {run.seconds} s", "faint")
    left = MARGIN
    for kind, meaning in (("user", "user mode"), ("system", "kernel"), ("plain", "other figures")):
        yield _box(left, 73, 12, 12, kind)
        yield _text(left + 18, 84, meaning)
        left += 40 + 7 * len(meaning)
    yield from _interval(left, left + 24, 79)
    yield _text(left + 32, 84, "from the smallest to the largest round; shorter bars are better")


def _panel(results: Results, left: float, top: float) -> Iterator[str]:
    scenario = results.scenario
    yield _text(left, top + 14, scenario.name, "name")
    yield _text(left, top + 32, scenario.bars_title, "faint")
    bars = [_bar(results, peer) for peer in results.rounds]
    longest = max((bar.high for bar in bars), default=0.0)
    digits = next(column.digits for column in scenario.columns if column.key == scenario.bars[0])
    line = top + PANEL_HEAD_HEIGHT
    for bar in bars:
        yield from _drawn(bar, left, line, BAR_WIDTH_MAX / longest if longest else 0.0, digits)
        line += ROW_HEIGHT
    for peer in [*results.missing, *results.failed]:
        yield _text(left, line + 12, peer, "faint")
        yield _text(left + NAME_WIDTH, line + 12, "failed" if peer in results.failed else "not measured", "faint")
        line += ROW_HEIGHT


def _panel_height(results: Results) -> int:
    peers = len(results.rounds) + len(results.missing) + len(results.failed)
    return PANEL_HEAD_HEIGHT + peers * ROW_HEIGHT + PANEL_FOOT_HEIGHT


def _bar(results: Results, peer: str) -> Bar:
    samples = results.rounds[peer]
    keys = results.scenario.bars
    sums = [sum(sample[key] for key in keys) for sample in samples]
    errors = sum(value for sample in samples for key, value in sample.items() if key in ("errors", "errors_churn"))
    return Bar(peer, tuple(results.median(peer, key) or 0.0 for key in keys), min(sums), max(sums), int(errors))


def _drawn(bar: Bar, left: float, top: float, scale: float, digits: int) -> Iterator[str]:
    yield _text(left, top + 12, bar.peer, "subject" if bar.peer == SUBJECT else "")
    start = left + NAME_WIDTH
    yield _box(start, top, BAR_WIDTH_MAX, BAR_HEIGHT, "track")
    kinds = ("user", "system") if len(bar.parts) == 2 else ("plain",)
    for part, kind in zip(bar.parts, kinds, strict=True):
        yield _box(start, top, part * scale, BAR_HEIGHT, kind)
        start += part * scale
    begin = left + NAME_WIDTH
    if bar.high > bar.low:
        yield from _interval(begin + bar.low * scale, begin + bar.high * scale, top + BAR_HEIGHT / 2)
    yield _text(begin + BAR_WIDTH_MAX + 8, top + 12, _figures(bar, digits), "subject" if bar.peer == SUBJECT else "")


def _figures(bar: Bar, digits: int) -> str:
    text = number(bar.length, digits)
    if len(bar.parts) > 1:
        text = f"{' + '.join(number(part, digits) for part in bar.parts)} = {text}"
    return f"{text}, {bar.errors:,} errors" if bar.errors else text


def _interval(low: float, high: float, middle: float) -> Iterator[str]:
    yield _stroke(low, middle, high, middle)
    yield _stroke(low, middle - 3, low, middle + 3)
    yield _stroke(high, middle - 3, high, middle + 3)


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="interval" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _box(left: float, top: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(left: float, line: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{left:.1f}" y="{line:.1f}">{escape(text)}</text>'
