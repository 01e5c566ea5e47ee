"""Records where twemproxy puts keys: memcached servers of its own behind the real program.

    python3 twemproxy.py /usr/sbin/nutcracker >> placements.tsv

Debian's package `nutcracker` has the program. Prints a line for each pool: its name, the list of keys, and the index of
the server that was asked for each key, as a character.
"""

from __future__ import annotations

import asyncio
import contextlib
import string
import subprocess
import sys
import tempfile
from pathlib import Path

HASHES = "crc16 crc32 crc32a fnv1_32 fnv1_64 fnv1a_32 fnv1a_64 hsieh jenkins md5 murmur one_at_a_time".split()
DIGITS = string.digits + string.ascii_letters
WEIGHTS = [1, 2, 3, 5, 10]
FRONT_PORT, NODE_PORT, STATS_PORT = 23100, 23200, 23099


def pools() -> dict[str, tuple[str, list[tuple[str, int, int, str]]]]:
    """By name: the hash function, and address, port, weight and name of each server."""
    equal = [("127.0.0.1", NODE_PORT + i, 1, f"cache{i}") for i in range(5)]
    found = {f"twemproxy_{name}": (name, equal) for name in HASHES}
    weighted = [("127.0.0.1", NODE_PORT + i, weight, "") for i, weight in enumerate(WEIGHTS)]
    found["twemproxy_weighted_without_names"] = ("fnv1a_64", weighted)
    found["twemproxy_default_port"] = ("fnv1a_64", [(f"127.0.0.{i + 2}", 11211, 1, "") for i in range(5)])
    # At 61 equal servers rounding takes four of the 160 points from each.
    found["twemproxy_61_servers"] = ("md5", [("127.0.0.1", NODE_PORT + i, 1, f"n{i}") for i in range(61)])
    return found


async def serve(index: int, host: str, port: int) -> asyncio.Server:
    """A memcached server whose every value is its own index."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        value = str(index).encode()
        # The last line is waited for when the program ends.
        with contextlib.suppress(asyncio.CancelledError):
            while line := await reader.readline():
                head = b"VALUE %s 0 %d\r\n" % (line.split()[1], len(value))
                writer.write(head + value + b"\r\nEND\r\n")

    return await asyncio.start_server(answer, host, port)


async def ask(port: int, keys: list[bytes]) -> list[int]:
    """The server that holds each key, by what the proxy on `port` says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for key in keys:
        writer.write(b"get %s\r\n" % key)
        assert (await reader.readline()).startswith(b"VALUE "), key
        found.append(int(await reader.readline()))
        assert await reader.readline() == b"END\r\n", key
    writer.close()
    return found


def config() -> str:
    lines = []
    for port, (name, (hash_name, servers)) in enumerate(pools().items(), FRONT_PORT):
        lines += [f"{name}:", f"  listen: 127.0.0.1:{port}", f"  hash: {hash_name}", "  distribution: ketama"]
        lines.append("  servers:")
        lines += [f"   - {host}:{port}:{weight} {name}".rstrip() for host, port, weight, name in servers]
    return "\n".join(lines) + "\n"


async def main(program: str) -> None:
    # A memcached key has no spaces.
    lines = Path(__file__).with_name("keys.txt").read_bytes().splitlines()
    keys = [key.replace(b" ", b"_") for key in lines]
    places = {(host, port): i for _, servers in pools().values() for i, (host, port, _, _) in enumerate(servers)}
    servers = [await serve(index, host, port) for (host, port), index in places.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "nutcracker.yml")
        path.write_text(config())
        command = [program, "-c", path, "-s", str(STATS_PORT), "-a", "127.0.0.1", "-p", f"{folder}/pid"]
        process = subprocess.Popen([*command, "-o", f"{folder}/log"])
        await asyncio.sleep(1)
        for port, name in enumerate(pools(), FRONT_PORT):
            found = await ask(port, keys)
            print(name, "memcached", "".join(DIGITS[index] for index in found), sep="\t")
        process.terminate()
        process.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
