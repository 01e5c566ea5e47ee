"""The table of tests/wire against several programs: starts them before one node, and writes what each made of it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

from side_by_side import machine
from side_by_side import peers
from side_by_side import programs
from side_by_side.backends import Backends
from side_by_side.machine import LOOPBACK
from side_by_side.machine import BenchError
from side_by_side.machine import Cpus
from side_by_side.machine import Stage

DESCRIPTION = "Sends the rows of tests/wire, byte by byte, to proxies that stand before the same hostile node."

PEERS = ("nginx", "haproxy", "envoy", "ringway")

RESULTS = programs.ROOT / "benches/results/wire.md"

HEAD = """\
# What proxies make of hostile clients and nodes

Each cell is `clean / lenient / hard` rows of the table in `tests/wire/suite/rows`. *Hard*: two ways to read one message
were passed on, more requests reached the node than were sent, a cut body looked whole, or a client got what was not for
it. *Lenient*: answered otherwise than the strictest reading of the RFCs, which is this project's choice in places, such
as dropping trailers and names with underscores. The settings are those of `benches/side_by_side/peers.py`: what each
program does by default, fields for forwarding aside; and a node that fails is asked again at once.
"""


def main() -> int:
    """Runs the command; returns its exit code."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments.peer or list(PEERS), arguments.ringway, arguments.out)
    except BenchError as error:
        print(f"wire: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benches/wire", description=DESCRIPTION)
    add = parser.add_argument
    add("--peer", action="append", choices=PEERS, metavar="NAME", help=f"only this one of {', '.join(PEERS)}")
    add("--ringway", type=Path, metavar="PATH", help="take this binary instead of building one")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: benches/results/wire.md")
    return parser


def _run(names: list[str], ringway: Path | None, out: Path) -> int:
    begun = time.strftime("%Y-%m-%d %H:%M %Z")
    machine.raise_open_files()
    programs.install()
    found = programs.find_peers(names, ringway)
    for name, reason in found.missing.items():
        print(f"{name} is not here: {reason}", flush=True)
    with Stage() as stage:
        port = machine.free_ports(1)[0]
        with _stand_in(port):
            running = [_start(stage, peer, f"{LOOPBACK}:{port}") for peer in found.peers]
        table = _table(port, running)
    versions = ", ".join(f"{peer.name} {peer.version}" for peer in found.peers)
    text = f"{HEAD}\nWritten by `benches/wire` on {begun}: {versions}.\n\n{table}"
    out.write_text(text)
    print(f"{table}\nwritten to {out}")
    return 0


def _start(stage: Stage, peer: peers.Peer, node: str) -> peers.Running:
    cpus = Cpus.of_machine().shared()
    # There is no backend of another kind, and only the relay would need one.
    backends = Backends((node,), node, process=None)  # type: ignore[arg-type]
    return peers.start(stage, peer, peers.Task((node,), backends, forgiving=True), cpus.peer)


@contextmanager
def _stand_in(port: int) -> Iterator[None]:
    """Answers in place of the node for as long as the programs start."""
    server = ThreadingHTTPServer((LOOPBACK, port), _Ok)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Ok(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _table(port: int, running: list[peers.Running]) -> str:
    def argument(running: peers.Running) -> str:
        place = running.place
        http2 = place.http2 if running.peer.http2_apart else place.http1
        return f"{running.peer.name}={place.http1},{http2}"

    # Built as the tests are: nothing is timed here.
    command = ["cargo", "bench", "--quiet", "--profile", "test", "--bench", "wire", "--", "--node", str(port)]
    command += map(argument, running)
    done = subprocess.run(command, cwd=programs.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"`{' '.join(command)}` failed with exit code {done.returncode}")
    for peer in running:
        peer.process.require_running()
    return done.stdout
