"""The command line: what to measure, in which order, and where the results go."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from dataclasses import dataclass
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

  benches/side-by-side                                                everything; about half an hour
  benches/side-by-side --scenario small-get --rounds 11               one table
  benches/side-by-side --quick --peer nginx --peer ringway            a look
"""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    scenarios: tuple[Scenario, ...]
    peers: tuple[str, ...]
    rounds: int
    seconds: int
    changes_per_second: int
    ringway: Path | None
    # Where the results go; `None` when nothing is to be written.
    folder: Path | None


def main() -> int:
    """Runs the command; returns its exit code: 0, 1 when a peer failed or nothing was measured, 130 after Ctrl-C."""
    # A shell without job control lets what it starts in the background ignore SIGINT, and whom we start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = _parser().parse_args()
    if arguments.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:22}{scenario.title}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(_options(arguments))
    except BenchError as error:
        print(f"side-by-side: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("side-by-side: interrupted; every process that it started has been ended", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benches/side-by-side",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = [scenario.name for scenario in SCENARIOS]
    scenario_help = "measure only this one; may be repeated; --list shows them"
    add("--scenario", action="append", choices=names, metavar="NAME", help=scenario_help)
    peer_help = f"likewise, of {', '.join(programs.PEER_NAMES)}; relay is always there"
    add("--peer", action="append", choices=programs.PEER_NAMES, metavar="NAME", help=peer_help)
    add("--rounds", type=_positive, default=5, metavar="N", help="default: 5")
    add("--seconds", type=_positive, default=3, metavar="S", help="of each measurement; default: 3")
    add("--quick", action="store_true", help="one round of one second")
    add("--changes-per-second", type=_positive, default=100, metavar="N", help="of membership-churn; default: 100")
    add("--ringway", type=Path, metavar="PATH", help="measure this binary instead of building one")
    add("--save", action="store_true", help="write a partial run to benches/results too")
    add("--out", type=Path, metavar="DIR", help="write the results there instead")
    add("--list", action="store_true", help="show the scenarios")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    is_whole = not (arguments.scenario or arguments.peer or arguments.quick)
    usual = RESULTS if is_whole or arguments.save else None
    wanted = arguments.scenario
    return Options(
        scenarios=tuple(scenario for scenario in SCENARIOS if not wanted or scenario.name in wanted),
        peers=(peers.RELAY, *(arguments.peer or programs.PEER_NAMES)),
        rounds=1 if arguments.quick else arguments.rounds,
        seconds=1 if arguments.quick else arguments.seconds,
        changes_per_second=arguments.changes_per_second,
        ringway=arguments.ringway,
        folder=arguments.out or usual,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _command(words: list[str]) -> str:
    """The command as others could type it: with the names of paths that are of this machine alone."""
    named = {"--ringway": "PATH", "--out": "DIR"}
    shown = [named.get(before, word) for before, word in zip(["", *words], words)]
    shown = [re.sub(r"^(--ringway|--out)=.*", lambda flag: f"{flag[1]}={named[flag[1]]}", word) for word in shown]
    return " ".join(["benches/side-by-side", *shown])


def _run(options: Options) -> int:
    begun, described = time.strftime("%Y-%m-%d %H:%M %Z"), machine.description()
    cpus = Cpus.of_machine()
    machine.raise_open_files()
    programs.install()
    found = programs.find_peers(options.peers, options.ringway)
    for name, reason in found.missing.items():
        print(f"{name} is not here: {reason}", flush=True)
    run = report.Run(
        command=_command(sys.argv[1:]),
        begun=begun,
        rounds=options.rounds,
        seconds=options.seconds,
        machine=described,
        versions={peer.name: peer.version for peer in found.peers} | programs.tool_versions(),
        missing=found.missing,
    )
    cpus.leave_to_peer()
    all_results = []
    for scenario in options.scenarios:
        all_results.append(_measure(scenario, found, cpus, options))
        print(f"\n{report.findings(all_results[-1])}\n", flush=True)
    if options.folder is not None:
        report.save(options.folder, run, all_results, plot.svg(run, all_results))
        print(f"written to {options.folder}")
    return 0 if all(results.rounds and not results.failed for results in all_results) else 1


def _measure(scenario: Scenario, found: programs.Programs, cpus: Cpus, options: Options) -> Results:
    """One scenario. When it cannot even begin, or its backends die, every peer counts as failed."""
    left_out = {name: why for name, why in scenario.left_out.items() if name not in found.missing}
    left_out = {name: why for name, why in left_out.items() if name in options.peers}
    results = Results(scenario, missing=found.missing | left_out)
    entrants = [peer for peer in found.peers if peer.name not in left_out]
    print(f"\n{scenario.name}: {scenario.title}", flush=True)
    try:
        with Stage() as stage:
            bench = _bench(stage, scenario, cpus.shared() if scenario.shares_cpus else cpus, options)
            _measure_rounds(bench, results, entrants, _rounds(scenario, options))
    except BenchError as error:
        print(f"  FAILED: {error}", flush=True)
        results.failed |= {peer.name: str(error) for peer in entrants if peer.name not in results.failed}
    return results


def _rounds(scenario: Scenario, options: Options) -> int:
    """As many as were asked for, within what the scenario needs; a single one is a look at anything."""
    rounds = options.rounds if options.rounds == 1 else max(options.rounds, scenario.rounds_min)
    return min(rounds, scenario.rounds_max or rounds)


def _measure_rounds(bench: Bench, results: Results, entrants: list[Peer], rounds: int) -> None:
    """All rounds. A peer that fails in one of them is named with the reason and takes no further part."""
    turns = []
    for turn in range(rounds):
        entrants = [peer for peer in entrants if peer.name not in results.failed]
        turns.append(_round(bench, results, entrants, turn))
        add_ratios(results.scenario, turns[-1])
    for peer in entrants:
        if peer.name not in results.failed:
            results.rounds[peer.name] = [samples[peer.name] for samples in turns]


def _bench(stage: Stage, scenario: Scenario, cpus: Cpus, options: Options) -> Bench:
    nginx = programs.find("nginx")
    return Bench(
        stage=stage,
        backends=backends.start(stage, nginx, cpus.rest, scenario.nodes),
        clients=Clients(stage, programs.find("wrk"), programs.find("h2load"), cpus.rest),
        cpus=cpus,
        seconds=options.seconds,
        changes_per_second=options.changes_per_second,
    )


def _round(bench: Bench, results: Results, entrants: list[Peer], turn: int) -> dict[str, Sample]:
    """Measures every peer once, in an order that turns round from one round to the next."""
    scenario, samples = results.scenario, {}
    for peer in entrants if turn % 2 == 0 else reversed(entrants):
        bench.backends.process.require_running()
        try:
            samples[peer.name] = scenario.measure(bench, peer, turn)
            print(f"  round {turn + 1}  {peer.name:8} {report.glance(scenario, samples[peer.name])}", flush=True)
        except BenchError as error:
            # What the program wrote may name paths of this machine, which are nothing to publish.
            reason = str(error).splitlines()[0].removesuffix("; its last lines:")
            results.failed[peer.name] = f"in round {turn + 1}: {reason}"
            print(f"  round {turn + 1}  {peer.name:8} FAILED: {error}", flush=True)
    return samples
