"""The command line: which attacks on which programs, and the table of what came of them."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from statistics import median

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
second, on kept and new connections in turn. The same attack aimed at an unrelated port just before is the control, and
both are repeated, since the p99 of a few seconds on a shared machine is mostly that of its neighbours. A whole run writes
benches/results/under-attack.md.
"""


@dataclass(frozen=True)
class Round:
    """What one attack did, beside its control just before."""

    control: Outcome
    under_attack: Outcome
    sent_bytes: int
    grown_kib: int
    cpu_percent: float

    @property
    def ratio(self) -> float:
        return self.under_attack.p99_ms / self.control.p99_ms


@dataclass(frozen=True)
class Finding:
    """What an attack did to a program and to its honest clients, again and again."""

    attack: str
    peer: str
    rounds: list[Round]
    left_kib: int
    # How often the operator was answered, of how many times; nobody asks programs without an HTTP API.
    operator: tuple[int, int]

    @property
    def row(self) -> list[str]:
        failures = [failure for round_ in self.rounds for failure in round_.under_attack.failures]
        kinds = ", ".join(sorted(set(failures)))
        ratios = sorted(round_.ratio for round_ in self.rounds)
        spread = f" ({ratios[0]:.2f} to {ratios[-1]:.2f})" if len(ratios) > 1 else ""
        worst = max(self.rounds, key=lambda round_: round_.grown_kib)
        sent, grown = worst.sent_bytes, worst.grown_kib
        return [
            self.attack,
            self.peer,
            f"{len(failures)}" + (f" ({kinds})" if failures else ""),
            f"{median(round_.under_attack.p99_ms for round_ in self.rounds):.1f}",
            f"{median(round_.control.p99_ms for round_ in self.rounds):.1f}",
            f"{median(ratios):.2f}{spread}",
            f"{sent / 1024:,.0f}" if sent else "-",
            f"{grown:,}",
            f"{grown * 1024 / sent:.1f}" if sent else "-",
            f"{self.left_kib:,}",
            f"{median(round_.cpu_percent for round_ in self.rounds):.0f}",
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
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each attack; default: 3")
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
                    row = _measure(bench, peer, attack, arguments).row
                except BenchError as error:
                    reason = str(error).splitlines()[-1].strip()
                    row = [attack.name, peer.name, reason, *["-"] * (len(HEADINGS) - 3)]
                rows.append(row)
                print(" | ".join(row), flush=True)
    return _page(begun, found, rows, arguments)


def _measure(bench: Bench, peer: Peer, attack: Attack, arguments: argparse.Namespace) -> Finding:
    task = replace(bench.task(), tls=attack.at_tls)
    with bench.running_below(attack.wrapper, peer, task) as running:
        host, _, port = running.address.rpartition(":")
        probe(host, int(port), 1)
        before = running.process.memory_kib()
        rounds, asked, answered = [], 0, 0
        for _ in range(arguments.rounds):
            # The attack on the program and its control follow each other closely: both have the same neighbours.
            with _unrelated(bench, attack) as unrelated:
                control, _ = _attacked(bench, attack, unrelated, (host, int(port)), arguments.seconds)
            cpu = running.process.cpu()
            watch = _Watch(running, asks_operator=peer.name == "ringway")
            target, _, target_port = _target(running, attack).rpartition(":")
            under, sent = _attacked(bench, attack, (target, int(target_port)), (host, int(port)), arguments.seconds)
            watch.end()
            cpu_percent = running.process.cpu().since(cpu).total_us / (attack.ramp_seconds + arguments.seconds) / 10_000
            rounds.append(Round(control, under, sent, max(0, watch.peak_kib - before), cpu_percent))
            asked, answered = asked + watch.asked, answered + watch.answered
        time.sleep(AFTER_SECONDS)
        left = max(0, running.process.memory_kib() - before)
    return Finding(attack.name, peer.name, rounds, left, (answered, asked))


@contextmanager
def _unrelated(bench: Bench, attack: Attack) -> Iterator[tuple[str, int]]:
    """An address that the program has nothing to do with. What an attack does with answers it does there too, where the
    same ones come as from the backends: otherwise the attacker would have less to do."""
    if attack.is_answered:
        other = backends.start(bench.stage, programs.find("nginx"), bench.cpus.rest, 1)
        host, _, port = other.addresses[0].rpartition(":")
        process = other.process
    else:
        host, (port,) = "127.0.0.1", machine.free_ports(1)
        process = bench.stage.start("sink", _attacker("sink", str(port)), bench.cpus.peer)
    yield host, int(port)
    bench.stage.stop(process)


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
    chosen += [("--seconds", str(arguments.seconds)), ("--rounds", str(arguments.rounds))]
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
        "machine, just before, where slow reads get the answers of the backends. Programs have one worker on a CPU of",
        f"their own; attacker, honest client and backends share the other. Of {arguments.rounds} rounds: the medians of",
        "the p99s, the median and the range of their ratios, the memory of the round that took most, and all requests that",
        "were lost.",
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
