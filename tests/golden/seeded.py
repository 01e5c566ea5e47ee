#!/usr/bin/env python3
"""Writes seeded.tsv: rings whose keys are hashed with a seed, computed from the rules in README.md.

    pip install xxhash && python3 seeded.py > seeded.tsv
"""

import struct

from ring import KEYS, candidates, fingerprint, points

MASK = (1 << 64) - 1

# The seed of the paper, one without structure, and all ones.
SEEDS = ["000102030405060708090a0b0c0d0e0f", "9f3c01d2a4b5e6770f1e2d3c4b5a6978", "ff" * 16]

VNODES = 64
KEY_RULE = "header:x-room"
NODES = [(f"node-{number}", f"node-{number}", 1 + number % 2) for number in range(6)]


def rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def rounds(v, count):
    for _ in range(count):
        v[0] = (v[0] + v[1]) & MASK
        v[1] = rotate(v[1], 13) ^ v[0]
        v[0] = rotate(v[0], 32)
        v[2] = (v[2] + v[3]) & MASK
        v[3] = rotate(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & MASK
        v[3] = rotate(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & MASK
        v[1] = rotate(v[1], 17) ^ v[2]
        v[2] = rotate(v[2], 32)


def siphash24(seed, data):
    """Section 2 of the paper: words of 8 bytes, the last one with the length in its highest byte."""
    k0, k1 = struct.unpack("<QQ", seed)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def main():
    assert siphash24(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5, "Appendix A of the paper"
    ring = points(NODES, VNODES)
    for seed in SEEDS:
        seed_bytes = bytes.fromhex(seed)
        digest = siphash24(seed_bytes, b"\0ringway seed digest 1")
        whole = fingerprint(NODES, VNODES, ring, KEY_RULE, ["seed", f"{digest:016x}"])
        print("seed", seed, f"{digest:016x}", f"{whole:016x}", sep="\t")
        for key in KEYS:
            position = siphash24(seed_bytes, key.encode())
            order = [NODES[node][0] for node in candidates(ring, position)]
            print("key", key, f"{position:016x}", ",".join(order), sep="\t")


main()
