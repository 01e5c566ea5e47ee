"""Peers under plain load: CPU time for each request or each gigabyte, throughput and latency."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from side_by_side.bench import Bench
from side_by_side.bench import Sample
from side_by_side.load import Outcome
from side_by_side.load import Requests
from side_by_side.machine import BenchError
from side_by_side.machine import CpuTime
from side_by_side.peers import Peer
from side_by_side.peers import Running

WARM_UP_SECONDS = 1

# Beyond this share of errors the CPU time for each request would be the price of errors.
ERROR_SHARE_MAX = 0.01


def http1(requests: Requests) -> Callable[[Bench, Peer, int], Sample]:
    """Measures a peer with requests by HTTP/1.1."""
    return partial(_measure, requests=requests, http2=False)


def http2(requests: Requests) -> Callable[[Bench, Peer, int], Sample]:
    """Measures a peer with requests by cleartext HTTP/2."""
    return partial(_measure, requests=requests, http2=True)


def two_workers(requests: Requests) -> Callable[[Bench, Peer, int], Sample]:
    """Measures a peer with one worker and with two."""
    return partial(_measure_workers, requests=requests)


def _measure(bench: Bench, peer: Peer, _round: int, requests: Requests, http2: bool) -> Sample:
    with bench.running(peer, bench.task(http2=http2)) as running:
        outcome, used = _load(bench, running, requests, http2)
    return _sample(outcome, used)


def _measure_workers(bench: Bench, peer: Peer, turn: int, requests: Requests) -> Sample:
    sample: Sample = {}
    for workers in (1, 2) if turn % 2 == 0 else (2, 1):
        with bench.running(peer, bench.task(workers=workers)) as running:
            outcome, used = _load(bench, running, requests, http2=False)
        part = _sample(outcome, used)
        sample |= {f"{key}_{workers}": part[key] for key in ("total_us", "requests_per_s", "p99_ms", "errors")}
    sample["growth"] = sample["total_us_2"] / sample["total_us_1"]
    sample["errors"] = sample["errors_1"] + sample["errors_2"]
    return sample


def _load(bench: Bench, running: Running, requests: Requests, http2: bool) -> tuple[Outcome, CpuTime]:
    """The measured load, after one that opens connections and warms caches."""
    send = bench.clients.run_h2load if http2 else bench.clients.run_wrk
    send(running.address, requests, WARM_UP_SECONDS)
    before = running.process.cpu()
    outcome = send(running.address, requests, bench.seconds)
    used = running.process.cpu().since(before)
    if outcome.requests == 0 or outcome.errors > ERROR_SHARE_MAX * outcome.requests:
        counts = f"{outcome.requests:,} requests were answered, with {outcome.errors:,} errors"
        raise BenchError(f"{counts}; {running.process.last_words()}")
    return outcome, used


def _sample(outcome: Outcome, used: CpuTime) -> Sample:
    gigabytes = outcome.bytes / 1e9
    sample = {
        "user_us": used.user_us / outcome.requests,
        "system_us": used.system_us / outcome.requests,
        "total_us": used.total_us / outcome.requests,
        "requests_per_s": outcome.requests / outcome.seconds,
        "p50_ms": outcome.p50_ms,
        "p99_ms": outcome.p99_ms,
        "p999_ms": outcome.p999_ms,
        "errors": float(outcome.errors),
    }
    if gigabytes:
        sample["gb_per_s"] = gigabytes / outcome.seconds
        sample["user_s_per_gb"] = used.user_us / 1e6 / gigabytes
        sample["system_s_per_gb"] = used.system_us / 1e6 / gigabytes
        sample["total_s_per_gb"] = used.total_us / 1e6 / gigabytes
    return sample
