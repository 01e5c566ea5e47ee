"""The load: wrk for HTTP/1.1, h2load for HTTP/2 and for exact numbers of requests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from side_by_side.machine import BenchError
from side_by_side.machine import Process
from side_by_side.machine import Stage
from side_by_side.peers import KEY_HEADER

LUA = Path(__file__).with_name("requests.lua")

# Beyond what was asked for: starting, preparing the requests, waiting for the last responses.
PATIENCE_SECONDS = 60.0

RESULT_MARK = "result: "


@dataclass(frozen=True)
class Requests:
    """What is asked, over how many connections; `streams` at once on each, which only HTTP/2 has."""

    connections: int
    path: str = "/"
    keys: int = 10_000
    body_bytes: int = 0
    close: bool = False
    streams: int = 1


@dataclass(frozen=True)
class Outcome:
    """What the clients saw."""

    requests: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int


@dataclass(frozen=True)
class Clients:
    """The load generators, and the CPUs they run on."""

    stage: Stage
    wrk: Path
    h2load: Path
    cpus: str

    def start_wrk(self, address: str, requests: Requests, seconds: int) -> Process:
        """Starts wrk; `wrk_outcome` reads what it writes at its end."""
        timing = ["--threads", "1", "--connections", str(requests.connections), "--duration", f"{seconds}s"]
        script = ["--timeout", "10s", "--script", str(LUA), f"http://{address}{requests.path}", "--"]
        arguments = [requests.path, str(requests.keys), str(requests.body_bytes), "close" if requests.close else "keep"]
        return self.stage.start("wrk", [str(self.wrk), *timing, *script, *arguments], self.cpus)

    def run_wrk(self, address: str, requests: Requests, seconds: int) -> Outcome:
        """Sends requests for some time."""
        process = self.start_wrk(address, requests, seconds)
        return self.wrk_outcome(process, seconds)

    def wrk_outcome(self, process: Process, seconds: int) -> Outcome:
        """Waits for the end of wrk."""
        text = self._finish(process, seconds)
        line = next((line for line in text.splitlines() if line.startswith(RESULT_MARK)), None)
        if line is None:
            raise BenchError(f"wrk gave no result:\n{text}")
        values = json.loads(line.removeprefix(RESULT_MARK))
        return Outcome(
            requests=values["requests"],
            bytes=values["bytes"],
            seconds=values["duration_us"] / 1e6,
            p50_ms=values["p50_us"] / 1e3,
            p99_ms=values["p99_us"] / 1e3,
            p999_ms=values["p999_us"] / 1e3,
            errors=sum(values[kind] for kind in ("connect", "read", "write", "status", "timeout")),
        )

    def run_h2load(self, address: str, requests: Requests, seconds: int) -> Outcome:
        """Sends requests by HTTP/2 with prior knowledge for some time. All have the same key: h2load knows but one."""
        log = self.stage.subfolder("h2load") / "requests.tsv"
        streams = ["--clients", str(requests.connections), "--max-concurrent-streams", str(requests.streams)]
        timing = ["--duration", str(seconds), f"--log-file={log}"]
        process = self._start_h2load([*streams, *timing], address, requests)
        text = self._finish(process, seconds)
        taken_ms = sorted(_latencies_ms(log))
        log.unlink()
        done, errors = _h2load_counts(text)
        return Outcome(
            requests=done,
            bytes=0,
            seconds=float(seconds),
            p50_ms=_percentile(taken_ms, 0.5),
            p99_ms=_percentile(taken_ms, 0.99),
            p999_ms=_percentile(taken_ms, 0.999),
            errors=errors,
        )

    def send_exactly(self, address: str, requests: Requests, count: int) -> None:
        """Sends a number of HTTP/1.1 requests; every one must succeed."""
        arguments = ["--h1", "--requests", str(count), "--clients", str(requests.connections)]
        text = self._finish(self._start_h2load(arguments, address, requests), 10 * PATIENCE_SECONDS)
        done, errors = _h2load_counts(text)
        if done != count or errors:
            raise BenchError(f"{done} of {count} requests succeeded, {errors} failed")

    def _start_h2load(self, arguments: list[str], address: str, requests: Requests) -> Process:
        target = ["--header", f"{KEY_HEADER}: room-1", f"http://{address}{requests.path}"]
        return self.stage.start("h2load", [str(self.h2load), *arguments, *target], self.cpus)

    def _finish(self, process: Process, seconds: float) -> str:
        process.wait(seconds + PATIENCE_SECONDS)
        text = process.log.read_text(errors="replace")
        self.stage.stop(process)
        return text


def _h2load_counts(text: str) -> tuple[int, int]:
    """Requests that were answered with 2xx, and those that were not."""
    totals = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if totals is None:
        raise BenchError(f"h2load gave no result:\n{text}")
    done, succeeded = int(totals[1]), int(totals[2])
    return succeeded, done - succeeded + int(totals[4]) + int(totals[5])


def _latencies_ms(log: Path) -> list[float]:
    return [int(line.split("\t")[2]) / 1e3 for line in log.read_text().splitlines()]


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        raise BenchError("no request was answered")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
