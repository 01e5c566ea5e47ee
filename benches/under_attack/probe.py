"""An honest client: a steady rate of small requests, on kept and on new connections in turn."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from dataclasses import field

REQUESTS_PER_SECOND = 200

# Beyond it an honest client has gone.
PATIENCE_SECONDS = 5.0

KEPT_CONNECTIONS = 20


@dataclass
class Outcome:
    """What an honest client met with."""

    latencies_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """The latency that one request of a hundred exceeds."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else float("inf")


class _Kept:
    """A connection for many requests, one at a time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None


def probe(host: str, port: int, seconds: float) -> Outcome:
    """Asks at the steady rate for so long, whatever becomes of earlier requests."""
    return asyncio.run(_probe(host, port, seconds))


async def _probe(host: str, port: int, seconds: float) -> Outcome:
    outcome = Outcome()
    kept = [_Kept() for _ in range(KEPT_CONNECTIONS)]
    begun = time.monotonic()
    tasks = []
    for number in range(int(seconds * REQUESTS_PER_SECOND)):
        await asyncio.sleep(max(0.0, begun + number / REQUESTS_PER_SECOND - time.monotonic()))
        # A kept connection and a new one in turn.
        connection = kept[number // 2 % KEPT_CONNECTIONS] if number % 2 else _Kept()
        tasks.append(asyncio.create_task(_ask(connection, host, port, number, outcome)))
    await asyncio.gather(*tasks)
    return outcome


async def _ask(kept: _Kept, host: str, port: int, number: int, outcome: Outcome) -> None:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), kept.lock:
            status = await _exchange(kept, host, port, number)
    except (OSError, EOFError, TimeoutError) as error:
        kept.streams = None
        outcome.failures.append(type(error).__name__)
        return
    if status == b"200":
        outcome.latencies_ms.append((time.monotonic() - begun) * 1_000)
    else:
        outcome.failures.append(status.decode(errors="replace"))


async def _exchange(kept: _Kept, host: str, port: int, number: int) -> bytes:
    is_reused = kept.streams is not None
    try:
        return await _exchange_once(kept, host, port, number)
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        # A kept connection may end while a request is on its way to it. Browsers ask again then (RFC 9110 section 9.2.2).
        if not is_reused or getattr(error, "partial", b""):
            raise
        kept.streams = None
        return await _exchange_once(kept, host, port, number)


async def _exchange_once(kept: _Kept, host: str, port: int, number: int) -> bytes:
    if kept.streams is None:
        kept.streams = await asyncio.open_connection(host, port)
    reader, writer = kept.streams
    closes = "" if number % 2 else "connection: close\r\n"
    writer.write(f"GET / HTTP/1.1\r\nhost: a\r\nx-room: {number}\r\n{closes}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    fields = [line.lower().partition(b":") for line in head.split(b"\r\n")]
    length = next((int(value) for name, _, value in fields if name == b"content-length"), 0)
    await reader.readexactly(length)
    # No request follows on a connection that the other side says it closes (RFC 9112 section 9.6).
    if closes or any(name == b"connection" and value.strip() == b"close" for name, _, value in fields):
        writer.close()
        kept.streams = None
    return head.split(b" ", 2)[1]
