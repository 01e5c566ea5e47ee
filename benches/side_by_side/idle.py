"""Memory of a peer for each connection that is open and has nothing to say."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from side_by_side.bench import Bench
from side_by_side.bench import Sample
from side_by_side.load import Requests
from side_by_side.machine import BenchError
from side_by_side.peers import KEY_HEADER
from side_by_side.peers import Peer

CONNECTIONS = 5_000

TIMEOUT_SECONDS = 10.0

# How long the connections are idle before memory is looked at: some peers give it back little by little.
IDLE_SECONDS = 15.0


def measure(bench: Bench, peer: Peer, _round: int) -> Sample:
    """Opens connections, sends one request over each, and compares the memory before with the memory after."""
    with bench.running(peer, bench.task()) as running, ExitStack() as connections:
        # What a peer takes once, for its first requests, is no connection's.
        bench.clients.run_wrk(running.address, Requests(64), 1)
        time.sleep(1)
        before_kib = running.process.memory_kib()
        errors = sum(not _open(running.address, number, connections) for number in range(CONNECTIONS))
        time.sleep(IDLE_SECONDS)
        after_kib = running.process.memory_kib()
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
