"""The list of scenarios: what is asked of the peers, what is measured, and who is left out for what reason."""

from __future__ import annotations

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


def _per_request(name: str, title: str, requests: Requests) -> Scenario:
    return Scenario(
        name,
        title,
        PER_REQUEST,
        traffic.http1(requests),
        bars=("user_us", "system_us"),
        bars_title="CPU µs per request",
        compared="total_us",
    )


SCENARIOS = (
    _per_request("small-get", "small GET, 64 connections, 10,000 keys", Requests(64)),
    _per_request("one-connection", "small GET, 1 connection", Requests(1)),
    _per_request("thousand-connections", "small GET, 1,000 connections", Requests(1_000)),
    _per_request("new-connection", "small GET, a new connection per request, 64 at once", Requests(64, close=True)),
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
    ),
)
