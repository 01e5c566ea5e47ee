"""Single requests: whether a server answers, and what."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

from side_by_side.machine import BenchError
from side_by_side.machine import Process
from side_by_side.machine import wait_until

START_SECONDS = 20.0

TIMEOUT_SECONDS = 5.0


def status_of(address: str, path: str = "/") -> int:
    """The status of one GET with a key."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"x-room": "first"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def answers_before_its_end(process: Process, address: str, seconds: float = START_SECONDS) -> bool:
    """Waits until a server answers 200; false when it has ended instead."""
    return _before_its_end(process, address, seconds, lambda: f"status {status_of(address)}", "status 200")


def accepts_before_its_end(process: Process, address: str, seconds: float = START_SECONDS) -> bool:
    """Waits until a server accepts connections; false when it has ended instead."""
    return _before_its_end(process, address, seconds, lambda: _accepts(address), "accepted")


def _accepts(address: str) -> str:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS).close()
    return "accepted"


def _before_its_end(process: Process, address: str, seconds: float, ask: Callable[[], str], wanted: str) -> bool:
    seen = "no answer"

    def settled() -> bool:
        nonlocal seen
        if not process.is_running():
            return True
        try:
            seen = ask()
        except (OSError, http.client.HTTPException) as error:
            seen = str(error)
        return seen == wanted

    try:
        wait_until(f"{process.name} serves {address}", seconds, settled)
    except BenchError as error:
        raise BenchError(f"{error} ({seen}); {process.last_words()}") from None
    return process.is_running()
