"""Peers whose membership changes while they serve: errors and latency beside those of steady operation."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from side_by_side import peers
from side_by_side.bench import Bench
from side_by_side.bench import Sample
from side_by_side.load import Outcome
from side_by_side.load import Requests
from side_by_side.machine import BenchError
from side_by_side.peers import Peer
from side_by_side.peers import Running
from side_by_side.peers import Task

# Members besides those that come and go.
NODES = 100

# Changes are made by several clients at once, each of which has a node of its own to add and take away: a client that
# waits for its answer must not hold up the others.
CHANGERS = 4

REQUESTS = Requests(16)

WARM_UP_SECONDS = 1

# A reload of nginx starts new processes; this many a second is what was asked of it.
NGINX_RELOADS_PER_SECOND = 2

ADMIN_TIMEOUT_SECONDS = 5.0

# Makes a node a member, or no longer one.
Change = Callable[[bool], None]


def measure(bench: Bench, peer: Peer, turn: int) -> Sample:
    """One pair: steady operation and changes, which of them first alternating."""
    measured = {}
    for half in (_steady, _churn) if turn % 2 == 0 else (_churn, _steady):
        with bench.running(peer, _task(bench, peer)) as running:
            bench.clients.run_wrk(running.address, REQUESTS, WARM_UP_SECONDS)
            measured[half] = half(bench, running)
    (steady, _), (churn, changes_per_s) = measured[_steady], measured[_churn]
    return {
        "changes_per_s": changes_per_s,
        "steady_requests_per_s": steady.requests / steady.seconds,
        "churn_requests_per_s": churn.requests / churn.seconds,
        "steady_p99_ms": steady.p99_ms,
        "churn_p99_ms": churn.p99_ms,
        "p99_ratio": churn.p99_ms / steady.p99_ms,
        "errors_steady": float(steady.errors),
        "errors_churn": float(churn.errors),
    }


def _task(bench: Bench, peer: Peer) -> Task:
    """HAProxy must know all servers from the start: there the last ones are switched off and on."""
    everyone = bench.task()
    return everyone if peer.name == "haproxy" else replace(everyone, nodes=everyone.nodes[:NODES])


def _steady(bench: Bench, running: Running) -> tuple[Outcome, float]:
    return bench.clients.run_wrk(running.address, REQUESTS, bench.seconds), 0.0


def _churn(bench: Bench, running: Running) -> tuple[Outcome, float]:
    """The load while changes are made, and how many were made a second."""
    changers = _changers(running, bench)
    for changer in changers:
        changer.start()
    try:
        outcome = bench.clients.run_wrk(running.address, REQUESTS, bench.seconds)
    finally:
        for changer in changers:
            changer.end()
    return outcome, sum(changer.changes_per_s() for changer in changers)


def _changers(running: Running, bench: Bench) -> list[Changer]:
    """How a peer's membership is changed, and how often a second."""
    task = bench.task()
    comers = range(NODES, NODES + CHANGERS)
    match running.peer.name:
        case "ringway":
            changes = [_ringway_change(running, index, task.nodes[index]) for index in comers]
        case "haproxy":
            changes = [_haproxy_change(running, index) for index in comers]
        case "nginx":
            return [Changer(_nginx_change(running, task), NGINX_RELOADS_PER_SECOND, 0.0)]
        case name:
            raise BenchError(f"it is not known how to change the membership of {name}")
    pause_seconds = 1 / bench.changes_per_second
    rate = bench.changes_per_second / CHANGERS
    return [Changer(change, rate, turn * pause_seconds) for turn, change in enumerate(changes)]


class Changer(threading.Thread):
    """Makes changes at a steady rate after a first delay, alternately adding a node and taking it away."""

    def __init__(self, change: Change, rate: float, delay_seconds: float) -> None:
        super().__init__(name="changer", daemon=True)
        self._change = change
        self._pause_seconds = 1 / rate
        self._delay_seconds = delay_seconds
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._made = 0
        self._seconds = 0.0

    def run(self) -> None:
        begun = time.monotonic()
        due = begun + self._delay_seconds
        try:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                self._change(self._made % 2 == 0)
                self._made += 1
                due += self._pause_seconds
        except (OSError, BenchError) as error:
            self._failure = error
        self._seconds = time.monotonic() - begun

    def end(self) -> None:
        """Ends it after the change that it is making."""
        self._ended.set()
        self.join()

    def changes_per_s(self) -> float:
        """The changes it made a second; fails when one of them failed."""
        if self._failure is not None:
            raise BenchError(f"change {self._made + 1} failed: {self._failure}")
        return self._made / self._seconds


def _ringway_change(running: Running, index: int, address: str) -> Change:
    host, _, port = running.place.admin.rpartition(":")
    connection = socket.create_connection((host, int(port)), ADMIN_TIMEOUT_SECONDS)
    answers = connection.makefile("rb")

    def order(change: dict[str, object]) -> bytes:
        body = json.dumps({"changes": [change]})
        fields = f"host: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        return f"POST /v1/pools/{peers.RINGWAY_POOL}/apply HTTP/1.1\r\n{fields}\r\n\r\n{body}".encode()

    # Written beforehand, and read without an HTTP library, as little as the changes of HAProxy: the load shares its
    # CPUs with whoever makes them.
    name = f"n{index}"
    orders = {True: order({"add": {"name": name, "address": address}}), False: order({"remove": {"name": name}})}

    def change(add: bool) -> None:
        connection.sendall(orders[add])
        status = answers.readline()
        length = 0
        while (line := answers.readline()).strip():
            field, _, value = line.partition(b":")
            if field.lower() == b"content-length":
                length = int(value)
        answer = answers.read(length)
        if not status.startswith(b"HTTP/1.1 200 "):
            raise BenchError((status + answer).decode(errors="replace"))

    return change


def _haproxy_change(running: Running, index: int) -> Change:
    def change(add: bool) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ADMIN_TIMEOUT_SECONDS)
            connection.connect(str(running.place.socket))
            connection.sendall(f"set server nodes/n{index} state {'ready' if add else 'maint'}\n".encode())
            answer = connection.recv(4_096).strip()
        if answer:
            raise BenchError(answer.decode(errors="replace"))

    return change


def _nginx_change(running: Running, task: Task) -> Change:
    def change(add: bool) -> None:
        nodes = task.nodes if add else task.nodes[:NODES]
        peers.write_nginx_config(replace(task, nodes=nodes), running.place)
        running.process.signal(signal.SIGHUP)

    return change
