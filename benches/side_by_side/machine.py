"""The machine: what it is, how a run is laid out on its CPUs, and the processes that the run starts on it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

LOOPBACK = "127.0.0.1"

# Open files asked for: 5,000 idle connections on both sides of a relay, with room to spare.
OPEN_FILES_WANTED = 65_536

LOG_LINES_SHOWN = 12


class BenchError(Exception):
    """Something that keeps a measurement from being made, in words for the person who started it."""


@dataclass(frozen=True)
class Cpus:
    """The CPUs of the peer under test and of everything else, as `taskset --cpu-list` takes them."""

    peer: str
    rest: str

    @staticmethod
    def of_machine() -> Cpus:
        """One CPU for the peer, another for load generators, backends and this program."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise BenchError("two CPUs are needed: one for the peer, one for the load and the backends")
        return Cpus(str(usable[0]), str(usable[1]))

    def shared(self) -> Cpus:
        """The same two CPUs for everything."""
        both = f"{self.peer},{self.rest}"
        return Cpus(both, both)

    def leave_to_peer(self) -> None:
        """Keeps this program off the peer's CPU."""
        os.sched_setaffinity(0, {int(self.rest)})


@dataclass(frozen=True)
class CpuTime:
    """CPU time used so far, in microseconds."""

    user_us: float
    system_us: float

    @property
    def total_us(self) -> float:
        return self.user_us + self.system_us


@dataclass(frozen=True)
class CpuReading:
    """What the kernel knows of a group of processes: the exact sum, and ticks that say how it divides."""

    exact_ns: int
    user_ticks: int
    system_ticks: int

    def since(self, earlier: CpuReading) -> CpuTime:
        """The time between two readings. The kernel samples in which mode a CPU is, but counts exactly how long."""
        total_us = (self.exact_ns - earlier.exact_ns) / 1_000
        user = self.user_ticks - earlier.user_ticks
        system = self.system_ticks - earlier.system_ticks
        user_share = user / (user + system) if user + system else 0.0
        return CpuTime(total_us * user_share, total_us * (1 - user_share))


class Process:
    """A program in a session of its own, so that its children can be found, measured and ended with it."""

    def __init__(self, name: str, command: list[str], cpus: str, log: Path) -> None:
        self.name = name
        self.log = log
        pinned = ["taskset", "--cpu-list", cpus, *command]
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def last_words(self) -> str:
        """How it ended, with the end of what it wrote."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        code = self._child.poll()
        state = "still runs" if code is None else f"ended with {_ending(code)}"
        return "\n    ".join([f"{self.name} {state}; its last lines:", *(lines or ["(nothing)"])])

    def require_running(self) -> None:
        if not self.is_running():
            raise BenchError(self.last_words())

    def wait(self, seconds: float) -> None:
        """Waits for its own end."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"after {seconds:.0f} s {self.last_words()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program itself, not to its children."""
        if self.is_running():
            self._child.send_signal(number)

    def kill(self) -> None:
        """Ends it with all its children, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def members(self) -> list[int]:
        """The ids of the program and its children."""
        return [pid for pid in _all_pids() if _group_of(pid) == self.pid]

    def cpu(self) -> CpuReading:
        """CPU time of the program and its children that still run."""
        self.require_running()
        readings = [_cpu_of(pid) for pid in self.members()]
        return CpuReading(
            sum(reading.exact_ns for reading in readings),
            sum(reading.user_ticks for reading in readings),
            sum(reading.system_ticks for reading in readings),
        )

    def memory_kib(self) -> int:
        """Memory of the program and its children; pages that they share count once (PSS)."""
        self.require_running()
        return sum(_memory_of(pid) for pid in self.members())


class Stage:
    """A temporary folder and the processes of a run. Leaving it ends them all and removes the folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="side-by-side-"))
        self._processes: list[Process] = []
        self._started = 0

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def subfolder(self, name: str) -> Path:
        """A new folder."""
        self._started += 1
        folder = self.folder / f"{self._started:04}-{name}"
        folder.mkdir()
        return folder

    def start(self, name: str, command: list[str], cpus: str) -> Process:
        """Starts a program; what it writes goes to a file of its own."""
        self._started += 1
        process = Process(name, command, cpus, self.folder / f"{self._started:04}-{name}.log")
        self._processes.append(process)
        return process

    def stop(self, process: Process) -> None:
        """Ends a program before the run does."""
        process.kill()
        self._processes.remove(process)


def wait_until(what: str, seconds: float, condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nothing listens on now."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def raise_open_files() -> None:
    """Lets this process and all it starts open as many files as are wanted, or else as many as are allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_WANTED, max(hard, OPEN_FILES_WANTED)))
    except (PermissionError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files_max() -> int:
    """How many files one process of this run may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def description() -> dict[str, str]:
    """What the results depend on."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": _cpu_model(),
        "CPUs": str(os.cpu_count()),
        "memory": f"{memory_gib:.0f} GiB",
        "kernel": platform.release(),
        "system": _system_name(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat_fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` behind the program's name, the third of proc(5) first; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _group_of(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[2]) if fields else None


def _cpu_of(pid: int) -> CpuReading:
    fields = _stat_fields(pid)
    if not fields:
        return CpuReading(0, 0, 0)
    exact_ns = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            exact_ns += int(thread.read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return CpuReading(exact_ns, int(fields[11]), int(fields[12]))


def _memory_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
