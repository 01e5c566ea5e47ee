"""The list of scenarios: what is asked of the peers, what is measured, and who is left out for what reason."""

from __future__ import annotations

from side_by_side import churn
from side_by_side import idle
from side_by_side import instructions
from side_by_side import peers
from side_by_side import traffic
from side_by_side.backends import LARGE_PATH
from side_by_side.backends import MEDIUM_PATH
from side_by_side.bench import Column
from side_by_side.bench import Scenario
from side_by_side.load import Requests

ERRORS = Column("errors", "errors")

PER_REQUEST = (
    Column("user_us", "user µs", 1),
    Column("system_us", "system µs", 1),
    Column("total_us", "total µs", 1, interval=True),
    Column("ratio", "of relay", 2, interval=True),
    Column("requests_per_s", "requests/s"),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2, interval=True),
    Column("p999_ms", "p99.9 ms", 2),
    ERRORS,
)

PER_GIGABYTE = (
    Column("user_s_per_gb", "user s/GB", 3),
    Column("system_s_per_gb", "system s/GB", 3),
    Column("total_s_per_gb", "total s/GB", 3, interval=True),
    Column("ratio", "of relay", 2, interval=True),
    Column("gb_per_s", "GB/s", 2),
    Column("p50_ms", "p50 ms", 1),
    Column("p99_ms", "p99 ms", 1, interval=True),
    ERRORS,
)


def _per_request(name: str, title: str, requests: Requests, note: str = "", rounds_min: int = 1) -> Scenario:
    return Scenario(
        name,
        title,
        PER_REQUEST,
        traffic.http1(requests),
        bars=("user_us", "system_us"),
        bars_title="CPU µs per request",
        compared="total_us",
        note=note,
        rounds_min=rounds_min,
    )


SCENARIOS = (
    _per_request("small-get", "small GET, 64 connections, 10,000 keys", Requests(64), rounds_min=11),
    _per_request("one-connection", "small GET, 1 connection", Requests(1)),
    _per_request("thousand-connections", "small GET, 1,000 connections", Requests(1_000)),
    _per_request(
        "new-connection",
        "small GET, a new connection per request, 64 at once",
        Requests(64, close=True),
        note="The relay opens a connection to its backend for each of its client's, so here it is no floor.",
    ),
    _per_request("post-4k", "POST of 4 KiB, 64 connections, 1,000 keys", Requests(64, keys=1_000, body_bytes=4_096)),
    _per_request("get-64k", "response of 64 KiB, 64 connections", Requests(64, path=MEDIUM_PATH)),
    Scenario(
        "get-10m",
        "response of 10 MiB, 8 connections",
        PER_GIGABYTE,
        traffic.http1(Requests(8, path=LARGE_PATH)),
        bars=("user_s_per_gb", "system_s_per_gb"),
        bars_title="CPU seconds per GB",
        compared="total_s_per_gb",
    ),
    Scenario(
        "h2",
        "small GET by cleartext HTTP/2, 16 connections of 16 streams, one key",
        PER_REQUEST,
        traffic.http2(Requests(16, streams=16)),
        bars=("user_us", "system_us"),
        bars_title="CPU µs per request",
        compared="total_us",
        note="h2load sends one and the same key. The relay's backend speaks HTTP/2 itself.",
    ),
    Scenario(
        "idle-memory",
        f"memory of {idle.CONNECTIONS:,} connections after one request each and {idle.IDLE_SECONDS:.0f} s of silence",
        (
            Column("kib_per_connection", "KiB per connection", 1),
            Column("before_mib", "MiB before", 1),
            Column("after_mib", "MiB with them", 1),
            ERRORS,
        ),
        idle.measure,
        bars=("kib_per_connection",),
        bars_title="KiB per idle connection",
        rounds_max=1,
        note="Proportional set size of all processes. The relay holds a connection to its backend for each client.",
    ),
    Scenario(
        "membership-churn",
        f"{churn.NODES} nodes, 16 connections, nodes coming and going, beside steady operation",
        (
            Column("changes_per_s", "changes/s", 1),
            Column("steady_requests_per_s", "steady requests/s"),
            Column("churn_requests_per_s", "churn requests/s"),
            Column("steady_p99_ms", "steady p99 ms", 2, interval=True),
            Column("churn_p99_ms", "churn p99 ms", 2, interval=True),
            Column("p99_ratio", "p99 ratio", 2, interval=True),
            Column("errors_steady", "errors steady"),
            Column("errors_churn", "errors churn"),
        ),
        churn.measure,
        bars=("p99_ratio",),
        bars_title="p99 during changes / p99 steady",
        nodes=churn.NODES + churn.CHANGERS,
        shares_cpus=True,
        rounds_min=5,
        left_out={
            peers.RELAY: "it has no membership",
            "envoy": "its membership changes at run time through a control plane only",
            "pingora": "its membership changes at run time through code of one's own only",
        },
        note=(
            "Ringway: the admin API; HAProxy: the state of servers through the stats socket; nginx: reloads, "
            f"{churn.NGINX_RELOADS_PER_SECOND} a second. One worker each; everything may run on both CPUs."
        ),
    ),
    Scenario(
        "two-workers",
        "small GET, 64 connections, one worker and two",
        (
            Column("total_us_1", "µs with 1", 1, interval=True),
            Column("total_us_2", "µs with 2", 1, interval=True),
            Column("growth", "2 / 1", 2, interval=True),
            Column("requests_per_s_1", "requests/s with 1"),
            Column("requests_per_s_2", "requests/s with 2"),
            Column("p99_ms_1", "p99 ms with 1", 2),
            Column("p99_ms_2", "p99 ms with 2", 2),
            ERRORS,
        ),
        traffic.two_workers(Requests(64)),
        bars=("growth",),
        bars_title="CPU per request with 2 workers / with 1",
        shares_cpus=True,
        left_out={peers.RELAY: "it has one thread"},
        note="CPU time per request. Everything may use both CPUs, with one worker and with two.",
    ),
    Scenario(
        "instructions",
        f"instructions per small GET in user mode, {instructions.CONNECTIONS} connections",
        (Column("instructions", "instructions", interval=True), ERRORS),
        instructions.measure,
        bars=("instructions",),
        bars_title="instructions per request",
        rounds_max=1,
        note=(
            f"Counted by callgrind over {instructions.REQUESTS:,} requests after as many to warm up. nginx runs as one "
            "process."
        ),
    ),
)
