"""Peers whose membership changes while they serve: errors and latency beside those of steady operation."""

from __future__ import annotations

import http.client
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
from side_by_side.machine import LOOPBACK
from side_by_side.machine import BenchError
from side_by_side.peers import Peer
from side_by_side.peers import Running
from side_by_side.peers import Task

# Members besides the one that comes and goes.
NODES = 100

REQUESTS = Requests(16)

WARM_UP_SECONDS = 1.0

# A reload of nginx starts new processes; this many a second is what was asked of it.
NGINX_RELOADS_PER_SECOND = 2

ADMIN_TIMEOUT_SECONDS = 5.0

# Makes the last node a member, or no longer one.
Change = Callable[[bool], None]


def measure(bench: Bench, peer: Peer, turn: int) -> Sample:
    """One pair: steady operation and changes, which of them first alternating."""
    everyone = bench.task()
    # HAProxy must know all servers from the start; there the last one is switched on and off.
    task = everyone if peer.name == "haproxy" else replace(everyone, nodes=everyone.nodes[:NODES])
    with bench.running(peer, task) as running:
        bench.clients.run_wrk(running.address, REQUESTS, WARM_UP_SECONDS)
        change, rate = _change_of(running, everyone, bench.changes_per_second)
        halves = {"steady": lambda: (_steady(bench, running), 0.0), "churn": lambda: _churn(bench, running, change, rate)}
        measured = {name: halves[name]() for name in (halves if turn % 2 == 0 else reversed(halves))}
    (steady, _), (churn, changes_per_s) = measured["steady"], measured["churn"]
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


def _steady(bench: Bench, running: Running) -> Outcome:
    return bench.clients.run_wrk(running.address, REQUESTS, bench.seconds)


def _churn(bench: Bench, running: Running, change: Change, rate: int) -> tuple[Outcome, float]:
    """The load while changes are made, and how many were made a second."""
    changer = Changer(change, rate)
    changer.start()
    try:
        outcome = bench.clients.run_wrk(running.address, REQUESTS, bench.seconds)
    finally:
        changes_per_s = changer.finish()
    return outcome, changes_per_s


class Changer(threading.Thread):
    """Makes changes at a steady rate, alternately adding the last node and taking it away."""

    def __init__(self, change: Change, rate: int) -> None:
        super().__init__(name="changer", daemon=True)
        self._change = change
        self._pause_seconds = 1 / rate
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._made = 0
        self._seconds = 0.0

    def run(self) -> None:
        begun = due = time.monotonic()
        try:
            # It ends with an even number of changes, so that the membership is what it was.
            while not self._ended.is_set() or self._made % 2:
                self._change(self._made % 2 == 0)
                self._made += 1
                due += self._pause_seconds
                self._ended.wait(max(0.0, due - time.monotonic()))
        except (OSError, http.client.HTTPException, BenchError) as error:
            self._failure = error
        self._seconds = time.monotonic() - begun

    def finish(self) -> float:
        """Ends it; returns the changes made a second."""
        self._ended.set()
        self.join()
        if self._failure is not None:
            raise BenchError(f"change {self._made + 1} failed: {self._failure}")
        return self._made / self._seconds


def _change_of(running: Running, task: Task, rate: int) -> tuple[Change, int]:
    """How a peer's membership is changed, and how often a second."""
    match running.peer.name:
        case "ringway":
            return _ringway_change(running, task.nodes[-1]), rate
        case "haproxy":
            return _haproxy_change(running, len(task.nodes) - 1), rate
        case "nginx":
            return _nginx_change(running, task), NGINX_RELOADS_PER_SECOND
        case name:
            raise BenchError(f"it is not known how to change the membership of {name}")


def _ringway_change(running: Running, address: str) -> Change:
    host, _, port = running.place.admin.rpartition(":")
    connection = http.client.HTTPConnection(host or LOOPBACK, int(port), timeout=ADMIN_TIMEOUT_SECONDS)
    path = "/v1/pools/rooms/nodes/last"

    def change(add: bool) -> None:
        if add:
            connection.request("PUT", path, json.dumps({"address": address}), {"content-type": "application/json"})
        else:
            connection.request("DELETE", path)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
        if response.status not in (200, 201):
            raise BenchError(f"status {response.status}: {answer}")

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
