# A Debian 12 of its own, which systemd boots and whose network is its own loopback: to try programs in as those do who
# install them. To be sourced, in the folder of the sources, with tests/packages.sh. Needs root.

target_folder=${CARGO_TARGET_DIR:-$PWD/target}
debian=$target_folder/package/debian-12
work=$(mktemp -d)
# Processes to end, the last one first.
running=()
# systemd-nspawn, systemd in it, and how to run something of this machine in that network.
nspawn= leader=
in_network=(false)

fail() {
  printf 'FAILED: %s\n' "$@" >&2
  exit 1
}

end_running() {
  local index
  for ((index = ${#running[@]} - 1; index >= 0; index--)); do
    kill "${running[index]}" 2>/dev/null && wait "${running[index]}" 2>/dev/null || true
  done
  running=()
}

cleanup() {
  end_running
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# Repeats a command until it succeeds, for ten seconds.
wait_for() {
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "this does not succeed: $*"
}

# Installs what is missing here, of what this file needs and of what else is given as PROGRAM:PACKAGE.
require() {
  local needed missing=()
  for needed in python3:python3 nsenter:util-linux debootstrap:debootstrap systemd-nspawn:systemd-container "$@"; do
    command -v "${needed%%:*}" >/dev/null || missing+=("${needed##*:}")
  done
  [ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"
}

# A Debian with systemd and what the package of Ringway depends on; made once.
debian_root() {
  if [ ! -e "$debian/etc/debian_version" ]; then
    rm -rf "$debian.part"
    mkdir -p "$(dirname "$debian")"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps bookworm "$debian.part" >"$work/debootstrap.log" ||
      fail "debootstrap cannot make a Debian" "$(tail -n 5 "$work/debootstrap.log")"
    mv "$debian.part" "$debian"
  fi
}

# Runs something there.
machine() {
  nsenter --target "$leader" --all --root --wd -- "$@"
}

has_booted() {
  leader=$(pgrep -P "$nspawn") && machine systemctl is-system-running | grep -qE 'running|degraded'
}

# Boots the Debian in a folder. It ends with `end_running` at the latest.
boot() {
  systemd-nspawn --directory="$1" --boot --register=no --keep-unit --private-network --console=pipe --quiet \
    </dev/null >"$work/boot.log" 2>&1 &
  nspawn=$!
  running+=("$nspawn")
  wait_for has_booted
  in_network=(nsenter --target "$leader" --net --)
}

# Nodes in that network that answer everything with their name; each is given as NAME=PORT.
start_nodes() {
  "${in_network[@]}" python3 -c '
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def serve(name, port):
    class Node(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one piece.
        wbufsize = -1
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(name) + 1))
            self.end_headers()
            self.wfile.write(name.encode() + b"\n")
        def log_message(self, *_):
            pass
    ThreadingHTTPServer(("127.0.0.1", int(port)), Node).serve_forever()

for node in sys.argv[1:]:
    threading.Thread(target=serve, args=node.split("=")).start()' "$@" 2>"$work/nodes.log" &
  running+=($!)
}
