"""The command line: which attacks on which programs, and the table of what came of them."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from side_by_side import backends
from side_by_side import machine
from side_by_side import programs
from side_by_side.bench import Bench
from side_by_side.load import Clients
from side_by_side.machine import BenchError
from side_by_side.machine import Cpus
from side_by_side.machine import Stage
from side_by_side.peers import Peer
from side_by_side.peers import Running
from under_attack.attacks import ATTACKS
from under_attack.attacks import Attack
from under_attack.probe import Outcome
from under_attack.probe import REQUESTS_PER_SECOND
from under_attack.probe import probe

RESULTS = programs.ROOT / "benches/results/under-attack.md"

PEERS = ("ringway", "haproxy", "nginx")

# How long memory has to go back after an attack.
AFTER_SECONDS = 15

DESCRIPTION = f"""\
Attacks Ringway, HAProxy and nginx, one attack at a time, while an honest client asks {REQUESTS_PER_SECOND} times a
second, on kept and new connections in turn. The same attack aimed at an unrelated port is the control. A whole run
writes benches/results/under-attack.md.
"""


@dataclass(frozen=True)
class Finding:
    """What an attack did to a program and to its honest clients."""

    attack: str
    peer: str
    control: Outcome
    under_attack: Outcome
    sent_bytes: int
    grown_kib: int
    left_kib: int
    cpu_percent: float
    # How often the operator was answered, of how many times; nobody asks programs without an HTTP API.
    operator: tuple[int, int]

    @property
    def row(self) -> list[str]:
        sent = self.sent_bytes
        failures = ", ".join(sorted(set(self.under_attack.failures)))
        return [
            self.attack,
            self.peer,
            f"{len(self.under_attack.failures)}" + (f" ({failures})" if failures else ""),
            f"{self.under_attack.p99_ms:.1f}",
            f"{self.control.p99_ms:.1f}",
            f"{self.under_attack.p99_ms / self.control.p99_ms:.2f}",
            f"{sent / 1024:,.0f}" if sent else "-",
            f"{self.grown_kib:,}",
            f"{self.grown_kib * 1024 / sent:.1f}" if sent else "-",
            f"{self.left_kib:,}",
            f"{self.cpu_percent:.0f}",
            "{}/{}".format(*self.operator) if self.operator[1] else "-",
        ]


HEADINGS = [
    "attack", "program", "honest requests lost", "p99 ms", "p99 ms, control", "ratio", "sent KiB", "memory + KiB",
    "bytes per byte sent", f"+ KiB {AFTER_SECONDS} s later", "CPU %",
    "operator answered",
]


def main() -> int:
    """Runs the command; returns its exit code."""
    arguments = _parser().parse_args()
    is_whole = not (arguments.attack or arguments.peer)
    try:
        lines = _run(arguments)
    except BenchError as error:
        print(f"under-attack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if is_whole or arguments.save:
        RESULTS.write_text("\n".join(lines) + "\n")
        print(f"written to {RESULTS.relative_to(programs.ROOT)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benches/under-attack", description=DESCRIPTION)
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("--attack", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--peer", action="append", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--seconds", type=int, default=10, metavar="S", help="of each attack; default: 10")
    parser.add_argument("--ringway", type=Path, metavar="PATH", help="attack this binary instead of building one")
    parser.add_argument("--save", action="store_true", help="write a partial run to benches/results too")
    return parser


def _run(arguments: argparse.Namespace) -> list[str]:
    machine.raise_open_files()
    programs.install()
    found = programs.find_peers(arguments.peer or PEERS, arguments.ringway)
    cpus = Cpus.of_machine()
    cpus.leave_to_peer()
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    rows = [HEADINGS]
    print(" | ".join(HEADINGS))
    with Stage() as stage:
        running = backends.start(stage, programs.find("nginx"), cpus.rest, 3)
        clients = Clients(stage, programs.find("wrk"), programs.find("h2load"), cpus.rest)
        bench = Bench(stage, running, clients, cpus, arguments.seconds, 0)
        for attack in (attack for attack in ATTACKS if not arguments.attack or attack.name in arguments.attack):
            for peer in found.peers:
                try:
                    row = _measure(bench, peer, attack, arguments.seconds).row
                except BenchError as error:
                    reason = str(error).splitlines()[-1].strip()
                    row = [attack.name, peer.name, reason, *["-"] * (len(HEADINGS) - 3)]
                rows.append(row)
                print(" | ".join(row), flush=True)
    return _page(begun, found, rows, arguments)


def _measure(bench: Bench, peer: Peer, attack: Attack, seconds: int) -> Finding:
    task = replace(bench.task(), tls=attack.at_tls)
    with bench.running_below(attack.wrapper, peer, task) as running:
        host, _, port = running.address.rpartition(":")
        probe(host, int(port), 1)
        (unrelated,) = machine.free_ports(1)
        # The attack on the program and its control follow each other closely: both have the same neighbours.
        sink = bench.stage.start("sink", _attacker("sink", str(unrelated)), bench.cpus.peer)
        control, _ = _attacked(bench, attack, ("127.0.0.1", unrelated), (host, int(port)), seconds)
        bench.stage.stop(sink)
        target = _target(running, attack)
        before, cpu = running.process.memory_kib(), running.process.cpu()
        watch = _Watch(running, asks_operator=peer.name == "ringway")
        target_host, _, target_port = target.rpartition(":")
        under, sent = _attacked(bench, attack, (target_host, int(target_port)), (host, int(port)), seconds)
        watch.end()
        cpu_percent = running.process.cpu().since(cpu).total_us / (attack.ramp_seconds + seconds) / 10_000
        time.sleep(AFTER_SECONDS)
        left = running.process.memory_kib()
    grown, left = max(0, watch.peak_kib - before), max(0, left - before)
    operator = (watch.answered, watch.asked)
    return Finding(attack.name, peer.name, control, under, sent, grown, left, cpu_percent, operator)


def _target(running: Running, attack: Attack) -> str:
    """The address that an attack aims at."""
    if attack.at_tls:
        return running.place.tls
    is_apart = attack.name.startswith("h2-") and running.peer.http2_apart
    return running.place.http2 if is_apart else running.address


def _attacked(
    bench: Bench, attack: Attack, target: tuple[str, int], honest: tuple[str, int], seconds: int
) -> tuple[Outcome, int]:
    """What the honest client meets with while `target` is attacked, and the bytes the attack sent."""
    arguments = [attack.name, target[0], str(target[1]), str(seconds)]
    attacker = bench.stage.start("attack", _attacker(*arguments), bench.cpus.rest)
    time.sleep(attack.ramp_seconds)
    outcome = probe(*honest, seconds)
    attacker.wait(seconds + 30)
    sent = int(attacker.log.read_text().split()[-1])
    bench.stage.stop(attacker)
    return outcome, sent


def _attacker(*arguments: str) -> list[str]:
    search = f"PYTHONPATH={programs.ROOT / 'benches'}"
    return ["env", search, sys.executable, "-B", "-m", "under_attack.attacks", *arguments]


class _Watch(threading.Thread):
    """Follows the memory of a program, and asks its admin API, until it is told to end."""

    def __init__(self, running: Running, asks_operator: bool) -> None:
        super().__init__(daemon=True)
        self._running = running
        self._asks_operator = asks_operator
        self._ended = threading.Event()
        self.peak_kib = 0
        self.asked = 0
        self.answered = 0
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            self.peak_kib = max(self.peak_kib, self._running.process.memory_kib())
            if self._asks_operator:
                self.asked += 1
                url = f"http://{self._running.place.admin}/healthz"
                with suppress(OSError), urllib.request.urlopen(url, timeout=5):
                    self.answered += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


def _command(arguments: argparse.Namespace) -> str:
    """What was asked for, without where things are on this machine."""
    chosen = [("--attack", name) for name in arguments.attack or ()]
    chosen += [("--peer", name) for name in arguments.peer or ()]
    chosen += [("--seconds", str(arguments.seconds))]
    return shlex.join(["benches/under-attack", *(word for pair in chosen for word in pair)])


def _page(
    begun: str, found: programs.Programs, rows: list[list[str]], arguments: argparse.Namespace
) -> list[str]:
    versions = [f"* {peer.name} {peer.version}" for peer in found.peers]
    missing = [f"* {name}: not here: {reason}" for name, reason in found.missing.items()]
    facts = [f"* {name} {value}" for name, value in machine.description().items()]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|" + " --- |" * len(HEADINGS)
    what = [f"* **{attack.name}**: {attack.what}, {attack.connections} connections" for attack in ATTACKS]
    return [
        "# Under attack",
        "",
        f"Each attack lasts {arguments.seconds} s. Meanwhile an honest client asks {REQUESTS_PER_SECOND} times a second",
        "over HTTP/1, on kept and new connections in turn. The control is the same attack on an unrelated port of the same",
        "machine. Programs have one worker on a CPU of their own; attacker, honest client and backends share the other.",
        "",
        f"* {begun}, `{_command(arguments)}`",
        *facts,
        *versions,
        *missing,
        "",
        table[0],
        rule,
        *table[1:],
        "",
        *what,
    ]
