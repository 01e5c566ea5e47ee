"""Instructions of a peer for each request, in user mode: a figure that other work on the machine does not change."""

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
from side_by_side.peers import Running

REQUESTS = 2_000

CONNECTIONS = 16

STOP_SECONDS = 60.0

# Pingora waits for minutes after SIGTERM; SIGINT ends all of them at once.
STOP_SIGNAL = signal.SIGINT


def measure(bench: Bench, peer: Peer, _round: int) -> Sample:
    """Counts with callgrind, only while requests are sent, and not before as many have warmed the peer up."""
    off = ("--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null")
    task = replace(bench.task(), one_process=True)
    with bench.running_below((str(programs.find("valgrind")), *off), peer, task) as running:
        requests = Requests(CONNECTIONS)
        bench.clients.send_exactly(running.address, requests, REQUESTS)
        _count(running, "on")
        bench.clients.send_exactly(running.address, requests, REQUESTS)
        _count(running, "off")
        running.process.signal(STOP_SIGNAL)
        running.process.wait(STOP_SECONDS)
        counted = re.search(r"Collected : (\d+)", running.process.log.read_text(errors="replace"))
    if counted is None:
        raise BenchError(f"callgrind gave no count; {running.process.last_words()}")
    return {"instructions": int(counted[1]) / REQUESTS, "errors": 0.0}


def _count(running: Running, state: str) -> None:
    """Switches counting on or off."""
    programs.run([str(programs.find("callgrind_control")), f"--instr={state}", str(running.process.pid)])
