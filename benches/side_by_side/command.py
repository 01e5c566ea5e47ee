"""The command line: what to measure, in which order, and where the results go."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from side_by_side import backends
from side_by_side import machine
from side_by_side import peers
from side_by_side import plot
from side_by_side import programs
from side_by_side import report
from side_by_side.bench import Bench
from side_by_side.bench import Results
from side_by_side.bench import Sample
from side_by_side.bench import Scenario
from side_by_side.bench import add_ratios
from side_by_side.load import Clients
from side_by_side.machine import BenchError
from side_by_side.machine import Cpus
from side_by_side.machine import Stage
from side_by_side.peers import Peer
from side_by_side.scenarios import SCENARIOS

RESULTS = programs.ROOT / "benches/results"

DESCRIPTION = """\
Measures Ringway beside nginx, HAProxy, Envoy, Pingora and a raw TCP relay, with equal settings, in alternating
rounds. Peers that are not there are installed (apt, PyPI) or built; one that cannot be had is named with the reason.
"""

EPILOG = """\
A run of every scenario with every peer, without --quick, writes side-by-side.md, .json and .svg to benches/results.
Any other run writes nothing, so that a partial one never replaces a whole one, unless --save or --out asks for it.

The machine should have nothing else to do: the peer runs on one CPU, load generator and backends on another.

  benches/side-by-side                                                everything; about an hour
  benches/side-by-side --scenario small-get --rounds 11               one table
  benches/side-by-side --quick --peer nginx --peer ringway            a look
"""


def main() -> int:
    """Runs the command; returns its exit code: 0, 1 when nothing could be measured, 130 after Ctrl-C."""
    arguments = _arguments()
    if arguments.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:24}{scenario.title}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(arguments)
    except BenchError as error:
        print(f"side-by-side: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("side-by-side: interrupted; every process that it started has been ended", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benches/side-by-side", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=names, help="measure this one; may be repeated")
    parser.add_argument("--peer", action="append", choices=programs.PEER_NAMES, help="likewise; relay is always there")
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="default: 5")
    parser.add_argument("--seconds", type=_positive, default=3, metavar="S", help="of each measurement; default: 3")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--changes-per-second", type=_positive, default=100, metavar="N", help="of membership-churn")
    parser.add_argument("--ringway", type=Path, metavar="PATH", help="measure this binary instead of building one")
    parser.add_argument("--save", action="store_true", help="write a partial run to benches/results too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the results there instead")
    parser.add_argument("--list", action="store_true", help="show the scenarios")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _run(arguments: argparse.Namespace) -> int:
    begun = time.strftime("%Y-%m-%d %H:%M %Z")
    chosen = [scenario for scenario in SCENARIOS if not arguments.scenario or scenario.name in arguments.scenario]
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1
    machine.raise_open_files()
    programs.install(list(programs.PACKAGES))
    found = programs.find_peers([peers.RELAY, *(arguments.peer or programs.PEER_NAMES)], arguments.ringway)
    for name, reason in found.missing.items():
        print(f"{name} is not here: {reason}", flush=True)
    all_results = []
    for scenario in chosen:
        all_results.append(_measure(scenario, found, arguments))
        print(f"\n{report.findings(all_results[-1])}\n", flush=True)
    run = _describe(arguments, begun, found)
    folder = _destination(arguments)
    if folder is not None:
        report.save(folder, run, all_results, plot.svg(run, all_results))
        print(f"written to {folder}")
    return 0 if any(results.rounds for results in all_results) else 1


def _destination(arguments: argparse.Namespace) -> Path | None:
    """Where results go, as the help says."""
    if arguments.out is not None:
        return arguments.out
    is_whole = not (arguments.scenario or arguments.peer or arguments.quick)
    return RESULTS if is_whole or arguments.save else None


def _describe(arguments: argparse.Namespace, begun: str, found: programs.Programs) -> report.Run:
    versions = {peer.name: peer.version for peer in found.peers}
    tools = {name: programs.version_of(name) for name in ("wrk", "h2load")}
    return report.Run(
        command=shlex.join(["benches/side-by-side", *sys.argv[1:]]),
        begun=begun,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        machine=machine.description(),
        versions=versions | tools,
        missing=found.missing,
    )


def _measure(scenario: Scenario, found: programs.Programs, arguments: argparse.Namespace) -> Results:
    """All rounds of one scenario. A peer that fails is named with the reason and left out of further rounds."""
    missing = found.missing | {name: why for name, why in scenario.left_out.items() if name not in found.missing}
    results = Results(scenario, missing=missing)
    entrants = [peer for peer in found.peers if peer.name not in missing]
    rounds = arguments.rounds if arguments.quick else max(arguments.rounds, scenario.rounds_min)
    rounds = min(rounds, scenario.rounds_max or rounds)
    print(f"\n{scenario.name}: {scenario.title}", flush=True)
    with Stage() as stage:
        bench = _bench(stage, scenario, arguments)
        samples_of_rounds = []
        for turn in range(rounds):
            entrants = [peer for peer in entrants if peer.name not in missing]
            samples_of_rounds.append(_round(bench, scenario, entrants, turn, missing))
            add_ratios(scenario, samples_of_rounds[-1])
    for peer in (peer for peer in entrants if peer.name not in missing):
        results.rounds[peer.name] = [samples[peer.name] for samples in samples_of_rounds]
    return results


def _bench(stage: Stage, scenario: Scenario, arguments: argparse.Namespace) -> Bench:
    cpus = Cpus.shared() if scenario.shares_cpus else Cpus.apart()
    nginx = programs.find("nginx")
    return Bench(
        stage=stage,
        backends=backends.start(stage, nginx, cpus.rest, scenario.nodes),
        clients=Clients(stage, programs.find("wrk"), programs.find("h2load"), cpus.rest),
        cpus=cpus,
        seconds=arguments.seconds,
        changes_per_second=arguments.changes_per_second,
    )


def _round(
    bench: Bench, scenario: Scenario, entrants: list[Peer], turn: int, missing: dict[str, str]
) -> dict[str, Sample]:
    """Measures every peer once, in an order that turns round from one round to the next."""
    samples = {}
    for peer in entrants if turn % 2 == 0 else reversed(entrants):
        try:
            samples[peer.name] = scenario.measure(bench, peer, turn)
            print(f"  round {turn + 1}  {peer.name:8} {report.glance(scenario, samples[peer.name])}", flush=True)
        except BenchError as error:
            missing[peer.name] = f"failed in round {turn + 1}: {error}"
            print(f"  round {turn + 1}  {peer.name:8} FAILED: {error}", flush=True)
    return samples
