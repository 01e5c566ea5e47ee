"""What a measurement has at hand, and what it gives back."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field

from side_by_side import peers
from side_by_side.backends import Backends
from side_by_side.load import Clients
from side_by_side.machine import Cpus
from side_by_side.machine import Stage
from side_by_side.peers import Peer
from side_by_side.peers import Running
from side_by_side.peers import Task

# One peer in one round: values by the key of their column.
Sample = dict[str, float]


@dataclass(frozen=True)
class Column:
    """A value of a sample as tables show it; with the interval over all rounds where that matters."""

    key: str
    title: str
    digits: int = 0
    interval: bool = False


@dataclass(frozen=True)
class Bench:
    """A stage with backends and load generators, on which peers are measured one after the other."""

    stage: Stage
    backends: Backends
    clients: Clients
    cpus: Cpus
    seconds: int
    changes_per_second: int

    def task(self, workers: int = 1, http2: bool = False) -> Task:
        """The usual task: all backends are nodes."""
        return Task(self.backends.addresses, self.backends, workers=workers, http2=http2)

    @contextmanager
    def running(self, peer: Peer, task: Task) -> Iterator[Running]:
        """A peer that is ended with the block, and must not end before."""
        with self.running_below((), peer, task) as running:
            yield running
            running.process.require_running()

    @contextmanager
    def running_below(self, wrapper: tuple[str, ...], peer: Peer, task: Task) -> Iterator[Running]:
        """A peer below another program, such as valgrind. It is ended with the block if it has not ended before."""
        running = peers.start(self.stage, peer, task, self.cpus.peer, wrapper)
        try:
            yield running
        finally:
            self.stage.stop(running.process)


@dataclass(frozen=True)
class Scenario:
    """One kind of work. `measure` takes the round's number, from 0, so that what comes in pairs can alternate."""

    name: str
    title: str
    columns: tuple[Column, ...]
    measure: Callable[[Bench, Peer, int], Sample]
    # Columns that are parts of one bar of the plot, and what the bar's length means.
    bars: tuple[str, ...]
    bars_title: str
    nodes: int = 3
    shares_cpus: bool = False
    rounds_min: int = 1
    rounds_max: int | None = None
    # Why some peers are not measured here.
    left_out: dict[str, str] = field(default_factory=dict)
    # What a reader must know beside the table.
    note: str = ""
    # Column that is divided by the relay's of the same round to give `ratio`.
    compared: str | None = None


@dataclass
class Results:
    """All rounds of one scenario."""

    scenario: Scenario
    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    # Peers that are not there or left out, and peers that failed, each with the reason.
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def values(self, peer: str, key: str) -> list[float]:
        """A value in every round in which it was measured."""
        return [sample[key] for sample in self.rounds[peer] if key in sample]

    def median(self, peer: str, key: str) -> float | None:
        """The median over all rounds."""
        values = self.values(peer, key)
        return statistics.median(values) if values else None


def add_ratios(scenario: Scenario, samples: dict[str, Sample]) -> None:
    """Compares the peers of one round with the relay of the same round."""
    floor = samples.get(peers.RELAY)
    if scenario.compared is None or floor is None:
        return
    for sample in samples.values():
        sample["ratio"] = sample[scenario.compared] / floor[scenario.compared]
