#!/usr/bin/env python3
"""Writes table.tsv: placements of the `table` kind, computed from the rule in README.md and not from the Rust code.

    pip install xxhash && python3 table.py > table.tsv
"""

import struct
from decimal import Decimal, getcontext

from xxhash import xxh3_64_intdigest as xxh3

WORD = (1 << 64) - 1
CANDIDATES_MAX = 10

KEYS = [f"room-{number}" for number in range(60)] + ["", "a", "部屋", "x" * 241]

# Name, slots, cap in thousandths, key rule, and the nodes as (name, placement-id, weight).
MEMBERSHIPS = [
    ("sole", 256, 1020, "path", [("only", "only", 1)]),
    ("equal", 1024, 1020, "header:x-room", [(f"node-{i}", f"node-{i}", 1) for i in range(5)]),
    (
        "weighted",
        4096,
        1020,
        "query:room, header:x-tenant+path:2 hash-tag={}",
        [(f"10.0.0.{i}:3000", f"10.0.0.{i}:3000", i) for i in range(10, 0, -1)],
    ),
    # Without slack, slots have to go far down their lists.
    ("tight", 2048, 1000, "client-ip", [(f"n{i}", f"n{i}", 1) for i in range(40)]),
    ("placement-ids", 512, 1255, "query:room", [("a", "z", 3), ("b", "y", 2), ("c", "knoten-ä", 1)]),
]

getcontext().prec = 40
LN_2 = Decimal(2).ln()


def mix(bits):
    """The finalizer of SplitMix64."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & WORD
    return bits ^ (bits >> 31)


def cost(slot, node):
    _, placement_id, weight = node
    drawn = mix(xxh3(struct.pack("<I", slot)) ^ xxh3(placement_id.encode())) | 1
    return -(Decimal(drawn) / 2**64).ln() / LN_2 / weight


def owners(nodes, slots, cap, costs):
    """The owner of each slot, as a node index: the cheapest pair of a slot and a node comes first, then the next."""
    whole = sum(weight for _, _, weight in nodes) * 1000
    room = [-(-slots * weight * cap // whole) for _, _, weight in nodes]
    owner = [None] * slots
    for _, slot, node in sorted((costs[slot][node], slot, node) for slot in range(slots) for node in range(len(nodes))):
        if owner[slot] is None and room[node] > 0:
            owner[slot] = node
            room[node] -= 1
    return owner


def fingerprint(nodes, slots, cap, owner, key_rule):
    def length(items):
        return struct.pack("<Q", len(items))

    def text(value):
        return length(value.encode()) + value.encode()

    data = text("ringway placement 1") + text(key_rule)
    data += length(nodes) + b"".join(text(name) for name, _, _ in nodes)
    data += text("table") + struct.pack("<II", slots, cap)
    data += length(owner) + b"".join(struct.pack("<H", node) for node in owner)
    return xxh3(data)


def main():
    for name, slots, cap, key_rule, nodes in MEMBERSHIPS:
        in_index_order = sorted(nodes, key=lambda node: node[1].encode())
        costs = [[cost(slot, node) for node in in_index_order] for slot in range(slots)]
        owner = owners(in_index_order, slots, cap, costs)
        digest = fingerprint(in_index_order, slots, cap, owner, key_rule)
        print("membership", name, slots, cap / 1000, key_rule, f"{digest:016x}", sep="\t")
        for node in nodes:
            print("node", *node, owner.count(in_index_order.index(node)), sep="\t")
        for key in KEYS:
            position = xxh3(key.encode())
            slot = position * slots >> 64
            others = sorted(range(len(nodes)), key=lambda node: costs[slot][node])
            others.remove(owner[slot])
            order = [in_index_order[node][0] for node in [owner[slot], *others]]
            print("key", key, f"{position:016x}", ",".join(order[:CANDIDATES_MAX]), sep="\t")


main()
