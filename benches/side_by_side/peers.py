"""The peers: how each is told to do the same work with the same settings.

All proxies write the same fields, those that Ringway writes by itself: X-Forwarded-For, -Proto and -Host towards the
node, and Via both ways, which RFC 9110 section 7.6.3 demands of a proxy.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from side_by_side import http1
from side_by_side.backends import REQUESTS_PER_CONNECTION
from side_by_side.backends import Backends
from side_by_side.backends import nginx_head
from side_by_side.machine import LOOPBACK
from side_by_side.machine import BenchError
from side_by_side.machine import Process
from side_by_side.machine import Stage
from side_by_side.machine import free_ports
from side_by_side.machine import open_files_max

# The floor that the others are compared with.
RELAY = "relay"

KEY_HEADER = "x-room"

# The same for every peer that can be told.
CLIENTS_MAX = 16_384
IDLE_CONNECTIONS_PER_NODE = 1_024
CONNECT_SECONDS = 1
RESPONSE_SECONDS = 60
IDLE_SECONDS = 75
POINTS_PER_NODE = 512

RINGWAY_POOL = "rooms"

# HAProxy puts 16 points on its ring for each unit of weight.
HAPROXY_WEIGHT = POINTS_PER_NODE // 16


@dataclass(frozen=True)
class Task:
    """What a peer is to do in one run. `nodes` may be fewer than the backends that run."""

    nodes: tuple[str, ...]
    backends: Backends
    workers: int = 1
    one_process: bool = False
    http2: bool = False
    # Whether a node that fails is asked again at once, as far as that is not how a peer does it anyway.
    forgiving: bool = False
    # Whether clients are served in TLS too; Ringway, HAProxy and nginx can be told.
    tls: bool = False


@dataclass(frozen=True)
class Place:
    """Where a peer works: its folder, the addresses it listens on, and the unix socket it is administered through."""

    folder: Path
    http1: str
    http2: str
    tls: str
    admin: str

    @property
    def socket(self) -> Path:
        return self.folder / "admin.sock"

    @property
    def certificate(self) -> Path:
        """For TLS, with its private key in one file."""
        return self.folder / "localhost.pem"


@dataclass(frozen=True)
class Peer:
    """A program under test. `command` writes its config and returns how it is started."""

    name: str
    program: Path
    version: str
    command: Callable[[Path, Task, Place], list[str]]
    has_workers: bool = True
    # Whether HTTP/2 has an address of its own rather than being recognised by its first bytes.
    http2_apart: bool = False


@dataclass(frozen=True)
class Running:
    """A peer that answers requests at `address`."""

    peer: Peer
    process: Process
    place: Place
    address: str


def start(stage: Stage, peer: Peer, task: Task, cpus: str, wrapper: tuple[str, ...] = ()) -> Running:
    """Starts a peer, below `wrapper` when there is one, and waits until it answers."""
    place = Place(stage.subfolder(peer.name), *(f"{LOOPBACK}:{port}" for port in free_ports(4)))
    if task.tls:
        _certify(place.certificate)
    process = stage.start(peer.name, [*wrapper, *peer.command(peer.program, task, place)], cpus)
    is_relay_to_http2 = task.http2 and peer.name == RELAY
    ready = http1.accepts_before_its_end if is_relay_to_http2 else http1.answers_before_its_end
    if not ready(process, place.http1, http1.START_SECONDS * (10 if wrapper else 1)):
        raise BenchError(process.last_words())
    return Running(peer, process, place, place.http2 if task.http2 and peer.http2_apart else place.http1)


def _certify(file: Path) -> None:
    """Writes a certificate that signs itself, and its key."""
    of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", *of, "-keyout", str(file), "-out", f"{file}.part"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"openssl makes no certificate: {done.stderr.strip()}")
    # Ringway and nginx look for a certificate among keys too, HAProxy wants them together.
    with file.open("a") as together:
        together.write(Path(f"{file}.part").read_text())


def relay_command(program: Path, task: Task, place: Place) -> list[str]:
    # It does not know HTTP: its backend must speak what its clients speak.
    backend = task.backends.http2 if task.http2 else task.nodes[0]
    return [str(program), "--listen", place.http1, "--backend", backend]


def nginx_command(program: Path, task: Task, place: Place) -> list[str]:
    config = write_nginx_config(task, place)
    return [str(program), "-p", str(place.folder), "-e", "stderr", "-c", str(config)]


def write_nginx_config(task: Task, place: Place) -> Path:
    """Writes the config of nginx, the first time or for a reload."""
    config = place.folder / "nginx.conf"
    config.write_text(_nginx_config(task, place))
    return config


def _nginx_config(task: Task, place: Place) -> str:
    fails = " max_fails=0" if task.forgiving else ""
    servers = "\n".join(f"    server {node}{fails};" for node in task.nodes)
    tls = f"""\
    listen {place.tls} ssl backlog=4096;
    ssl_certificate {place.certificate};
    ssl_certificate_key {place.certificate};""" if task.tls else ""
    return f"""\
master_process {"off" if task.one_process else "on"};
{nginx_head(place.folder, task.workers)}
  keepalive_requests {REQUESTS_PER_CONNECTION};
  keepalive_timeout {IDLE_SECONDS}s;
  upstream nodes {{
    hash $http_{KEY_HEADER.replace("-", "_")} consistent;
{servers}
    keepalive {IDLE_CONNECTIONS_PER_NODE * len(task.nodes)};
    keepalive_requests {REQUESTS_PER_CONNECTION};
    keepalive_timeout {IDLE_SECONDS}s;
  }}
  server {{
    listen {place.http1} backlog=4096;
    listen {place.http2} http2 backlog=4096;
{tls}
    location / {{
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Via "1.1 nginx";
      add_header Via "1.1 nginx";
      proxy_connect_timeout {CONNECT_SECONDS}s;
      proxy_read_timeout {RESPONSE_SECONDS}s;
      proxy_send_timeout {RESPONSE_SECONDS}s;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


def haproxy_command(program: Path, task: Task, place: Place) -> list[str]:
    servers = "\n".join(f"  server n{index} {node} weight {HAPROXY_WEIGHT}" for index, node in enumerate(task.nodes))
    tls = f"  bind {place.tls} ssl crt {place.certificate} backlog 4096" if task.tls else ""
    # Each client takes two open files, and HAProxy keeps some for itself.
    clients = min(CLIENTS_MAX, (open_files_max() - 1_000) // 2)
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""\
global
  nbthread {task.workers}
  maxconn {clients}
  stats socket {place.socket} mode 600 level admin
  stats timeout 1h
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect {CONNECT_SECONDS}s
  timeout client {IDLE_SECONDS}s
  timeout http-keep-alive {IDLE_SECONDS}s
  timeout server {RESPONSE_SECONDS}s
frontend clients
  bind {place.http1} backlog 4096
  bind {place.http2} proto h2 backlog 4096
{tls}
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
  default_backend nodes
backend nodes
  balance hdr({KEY_HEADER})
  hash-type consistent
{servers}
""")
    return [str(program), "-db", "-f", str(config)]


def envoy_command(program: Path, task: Task, place: Place) -> list[str]:
    config = place.folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(task, place)))
    arguments = ["--concurrency", str(task.workers), "--disable-hot-restart", "--log-level", "warning"]
    return [str(program), "-c", str(config), *arguments]


def _envoy_config(task: Task, place: Place) -> dict[str, object]:
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    route = {
        "cluster": "nodes",
        "timeout": f"{RESPONSE_SECONDS}s",
        "hash_policy": [{"header": {"header_name": KEY_HEADER}}],
    }
    connections = {
        "@type": manager,
        "stat_prefix": "clients",
        "use_remote_address": True,
        "via": "1.1 envoy",
        "generate_request_id": False,
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "request_headers_to_add": [{"header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}}],
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
    }
    listener = {
        "name": "clients",
        "address": _envoy_address(place.http1),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [_envoy_cluster(task)]}}


def _envoy_cluster(task: Task) -> dict[str, object]:
    endpoints = [{"endpoint": {"address": _envoy_address(node)}} for node in task.nodes]
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), CLIENTS_MAX)
    return {
        "name": "nodes",
        "type": "STATIC",
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": POINTS_PER_NODE * len(task.nodes)},
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "nodes", "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _envoy_address(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def pingora_command(program: Path, task: Task, place: Place) -> list[str]:
    return [str(program), "--listen", place.http1, "--threads", str(task.workers), *task.nodes]


def ringway_command(program: Path, task: Task, place: Place) -> list[str]:
    nodes = "\n".join(f'  {{ name = "n{index}", address = "{node}" }},' for index, node in enumerate(task.nodes))
    config = place.folder / "ringway.toml"
    listen, tls = [f'"{place.http1}"'], ""
    if task.tls:
        listen.append(f'{{ address = "{place.tls}", tls = true }}')
        tls = f'[tls]\ncertificate = [{{ certificate = "{place.certificate}", key = "{place.certificate}" }}]\n'
    config.write_text(f"""\
listen = [{", ".join(listen)}]
workers = {task.workers}

{tls}

[limits]
max-connections = {CLIENTS_MAX}
idle-timeout = "{IDLE_SECONDS}s"

[admin]
listen = "{place.admin}"

[store]
kind = "memory"

[[pool]]
name = "{RINGWAY_POOL}"
key = ["header:{KEY_HEADER}"]
placement = {{ kind = "ring", vnodes = {POINTS_PER_NODE} }}
max-idle-connections = {IDLE_CONNECTIONS_PER_NODE}
timeouts = {{ connect = "{CONNECT_SECONDS}s", head = "{RESPONSE_SECONDS}s", idle = "{RESPONSE_SECONDS}s" }}
initial-nodes = [
{nodes}
]
""")
    return [str(program), "serve", "--config", str(config), "--log-level", "warn"]
