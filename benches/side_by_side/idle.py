"""Memory of a peer for each connection that is open and has nothing to say."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from side_by_side.bench import Bench
from side_by_side.bench import Sample
from side_by_side.load import Requests
from side_by_side.machine import BenchError
from side_by_side.machine import Process
from side_by_side.peers import KEY_HEADER
from side_by_side.peers import Peer

CONNECTIONS = 5_000

TIMEOUT_SECONDS = 10.0

# Memory has settled when it changes by no more than this within this time.
SETTLED_SHARE = 0.002
SETTLED_SECONDS = 2.0

SETTLING_SECONDS_MAX = 20.0


def measure(bench: Bench, peer: Peer, _round: int) -> Sample:
    """Opens connections, sends one request over each, and compares the memory before with the memory after."""
    with bench.running(peer, bench.task()) as running, ExitStack() as connections:
        # What a peer takes once, for its first requests, is no connection's.
        bench.clients.run_wrk(running.address, Requests(64), 1)
        before_kib = _settled_kib(running.process)
        errors = sum(not _open(running.address, number, connections) for number in range(CONNECTIONS))
        after_kib = _settled_kib(running.process)
    return {
        "kib_per_connection": (after_kib - before_kib) / CONNECTIONS,
        "before_mib": before_kib / 1024,
        "after_mib": after_kib / 1024,
        "errors": float(errors),
    }


def _open(address: str, number: int, connections: ExitStack) -> bool:
    """Opens one connection that stays open, and says whether its request was answered well."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
    except OSError as error:
        raise BenchError(f"connection {number + 1} of {CONNECTIONS}: {error}") from None
    connections.enter_context(connection)
    try:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {address}\r\n{KEY_HEADER}: room-{number}\r\n\r\n".encode())
        # The response is so small that it arrives as a whole.
        return connection.recv(4_096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _settled_kib(process: Process) -> int:
    """Waits until the memory no longer changes."""
    deadline = time.monotonic() + SETTLING_SECONDS_MAX
    last_kib = process.memory_kib()
    while time.monotonic() < deadline:
        time.sleep(SETTLED_SECONDS)
        now_kib = process.memory_kib()
        if abs(now_kib - last_kib) <= SETTLED_SHARE * last_kib:
            return now_kib
        last_kib = now_kib
    return last_kib
