"""Instructions of a peer for each request, in user mode: a figure that no noise of the machine changes."""

from __future__ import annotations

import re
import signal
from dataclasses import replace

from side_by_side import programs
from side_by_side.bench import Bench
from side_by_side.bench import Sample
from side_by_side.load import Requests
from side_by_side.machine import BenchError
from side_by_side.peers import Peer

# The second run sends twice as many; what starting and warming up take falls out of the difference.
REQUESTS = 2_000

CONNECTIONS = 16

STOP_SECONDS = 60.0

# Pingora waits for minutes after SIGTERM; SIGINT ends all of them at once.
STOP_SIGNAL = signal.SIGINT


def measure(bench: Bench, peer: Peer, _round: int) -> Sample:
    """Counts with callgrind, in two runs."""
    few, many = (_count(bench, peer, factor * REQUESTS) for factor in (1, 2))
    return {"instructions": (many - few) / REQUESTS, "errors": 0.0}


def _count(bench: Bench, peer: Peer, requests: int) -> int:
    """Instructions of a whole run of a peer, with its start and end."""
    callgrind = (str(programs.find("valgrind")), "--tool=callgrind", "--callgrind-out-file=/dev/null")
    task = replace(bench.task(), one_process=True)
    with bench.running_below(callgrind, peer, task) as running:
        bench.clients.send_exactly(running.address, Requests(CONNECTIONS), requests)
        running.process.signal(STOP_SIGNAL)
        running.process.wait(STOP_SECONDS)
        counted = re.search(r"Collected : (\d+)", running.process.log.read_text(errors="replace"))
    if counted is None:
        raise BenchError(f"callgrind gave no count; {running.process.last_words()}")
    return int(counted[1])
