"""The backends: one real nginx that answers on as many addresses as there are nodes."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from side_by_side import http1
from side_by_side.machine import LOOPBACK
from side_by_side.machine import BenchError
from side_by_side.machine import Process
from side_by_side.machine import Stage
from side_by_side.machine import free_ports
from side_by_side.machine import open_files_max

SMALL_PATH = "/"
MEDIUM_PATH = "/64k"
LARGE_PATH = "/10m"

FILE_BYTES = {MEDIUM_PATH: 64 * 1024, LARGE_PATH: 10 * 1024 * 1024}

# Another program may take a port between its choice and its use.
ATTEMPTS = 5

# Large enough that no connection is ended for its age.
REQUESTS_PER_CONNECTION = 1_000_000_000


@dataclass(frozen=True)
class Backends:
    """Running backends: their addresses, and one more that speaks cleartext HTTP/2, for the raw relay."""

    addresses: tuple[str, ...]
    http2: str
    process: Process


def start(stage: Stage, nginx: Path, cpus: str, nodes: int) -> Backends:
    """Starts them: a few on ports of their own, many on loopback addresses of their own."""
    folder = stage.subfolder("backends")
    for path, size in FILE_BYTES.items():
        (folder / path.lstrip("/")).write_bytes(b"r" * size)
    for _ in range(ATTEMPTS):
        addresses, http2 = _choose(nodes)
        config = folder / "nginx.conf"
        config.write_text(_config(folder, addresses, http2))
        process = stage.start("backends", [str(nginx), "-p", str(folder), "-e", "stderr", "-c", str(config)], cpus)
        if http1.answers_before_its_end(process, addresses[-1]):
            return Backends(tuple(addresses), http2, process)
        if "Address already in use" not in process.log.read_text(errors="replace"):
            break
    raise BenchError(process.last_words())


def _choose(nodes: int) -> tuple[list[str], str]:
    if nodes <= 10:
        *ports, http2 = free_ports(nodes + 1)
        return [f"{LOOPBACK}:{port}" for port in ports], f"{LOOPBACK}:{http2}"
    port, http2 = free_ports(2)
    return [f"127.0.{index // 200}.{index % 200 + 1}:{port}" for index in range(nodes)], f"{LOOPBACK}:{http2}"


def nginx_head(folder: Path, workers: int) -> str:
    """How every nginx here begins: in the foreground, without a log, with its files in `folder`; `http` stays open."""
    return f"""\
daemon off;
worker_processes {workers};
worker_rlimit_nofile {open_files_max()};
pid {folder}/nginx.pid;
events {{ worker_connections {open_files_max() // 2}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  fastcgi_temp_path {folder}/fastcgi;
  proxy_temp_path {folder}/proxy;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;"""


def _config(folder: Path, addresses: list[str], http2: str) -> str:
    listen = "\n".join(f"    listen {address} backlog=4096;" for address in addresses)
    user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
    return f"""\
{user}
{nginx_head(folder, 1)}
  sendfile on;
  open_file_cache max=16;
  open_file_cache_valid 1h;
  keepalive_requests {REQUESTS_PER_CONNECTION};
  keepalive_timeout 1h;
  server {{
{listen}
    listen {http2} http2 backlog=4096;
    root {folder};
    location / {{ return 200 "ok\\n"; }}
    location = {MEDIUM_PATH} {{ }}
    location = {LARGE_PATH} {{ }}
  }}
}}
"""
