#!/usr/bin/env python3
"""Writes ring.tsv: placements of the `ring` kind, computed from the rule in README.md and not from the Rust code.

    pip install xxhash && python3 ring.py > ring.tsv
"""

import struct

from xxhash import xxh3_64_intdigest as xxh3

CIRCLE = 1 << 64
CANDIDATES_MAX = 10

KEYS = (
    [f"room-{number}" for number in range(200)]
    + [f"/images/{number * 7919}/full.jpg?v={number}" for number in range(40)]
    + [f"tenant-{number}|{number % 5}" for number in range(40)]
    # Every code path of XXH3: 1-3, 4-8, 9-16, 17-128, 129-240 and more bytes.
    + ["x" * length for length in (1, 3, 4, 8, 9, 16, 17, 64, 128, 129, 240, 241, 1024, 2000)]
    + ["ä", "schlüssel", "部屋", "🦀", "a b", "{tag}"]
)

# Name, vnodes, key rule, and the nodes as (name, placement-id, weight).
MEMBERSHIPS = [
    ("sole", 512, "path", [("only", "only", 1)]),
    ("equal", 512, "header:x-room", [(f"node-{i}", f"node-{i}", 1) for i in range(5)]),
    (
        "weighted",
        64,
        "query:room, header:x-tenant+path:2 hash-tag={}",
        [(f"10.0.0.{i}:3000", f"10.0.0.{i}:3000", i) for i in range(10, 0, -1)],
    ),
    (
        "placement-ids",
        512,
        "query:room",
        [("a", "z", 1), ("b", "y", 2), ("c", "knoten-ä", 1), ("d", "i" * 128, 1)],
    ),
    ("many", 16, "client-ip", [(f"n{i}", f"n{i}", 1 + i % 3) for i in range(40)]),
]


def points(nodes, vnodes):
    """(position, node index) of every point, sorted; nodes are in index order."""
    result = []
    for index, (_, placement_id, weight) in enumerate(nodes):
        for number in range(vnodes * weight):
            data = placement_id.encode() + b"\0" + struct.pack("<I", number)
            result.append((xxh3(data), index))
    return sorted(result)


def candidates(ring, position):
    """Node indexes by the distance of their closest point; equal distances: predecessor first, then index."""
    closest = {}
    for point, node in ring:
        left, right = (position - point) % CIRCLE, (point - position) % CIRCLE
        rank = (left, 0) if left <= right else (right, 1)
        if node not in closest or rank < closest[node]:
            closest[node] = rank
    return [node for _, node in sorted((rank, node) for node, rank in closest.items())]


def fingerprint(nodes, vnodes, ring, key_rule, more=()):
    def length(items):
        return struct.pack("<Q", len(items))

    def text(value):
        return length(value.encode()) + value.encode()

    data = text("ringway placement 1") + text(key_rule)
    data += length(nodes) + b"".join(text(name) for name, _, _ in nodes)
    data += text("ring") + struct.pack("<I", vnodes)
    data += length(ring) + b"".join(struct.pack("<Q", point) for point, _ in ring)
    data += length(ring) + b"".join(struct.pack("<H", node) for _, node in ring)
    data += b"".join(text(value) for value in more)
    return xxh3(data)


def main():
    for name, vnodes, key_rule, nodes in MEMBERSHIPS:
        in_index_order = sorted(nodes, key=lambda node: node[1].encode())
        ring = points(in_index_order, vnodes)
        digest = fingerprint(in_index_order, vnodes, ring, key_rule)
        print("membership", name, vnodes, key_rule, f"{digest:016x}", sep="\t")
        for node in nodes:
            print("node", *node, sep="\t")
        for key in KEYS:
            position = xxh3(key.encode())
            order = [in_index_order[node][0] for node in candidates(ring, position)]
            print("key", key, f"{position:016x}", ",".join(order[:CANDIDATES_MAX]), sep="\t")


if __name__ == "__main__":
    main()
