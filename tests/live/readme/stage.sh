# Makes the machine that the pages speak of out of new namespaces, to be run with `sh -eu`. $1 is where it may mount.

machine=$1
mkdir -p "$machine"
mount -t tmpfs tmpfs "$machine"

# Shows the directory $1 as it is, but so that nothing of it changes, and with empty directories of the names $2...
private() {
  shown=$1
  original=$machine/original$1
  copy=$machine/copy$1
  shift
  mkdir -p "$original" "$copy"
  mount --rbind "$shown" "$original"
  # Who is not root on the machine could write to nothing there anyway.
  mount -o remount,bind,ro "$original" || [ ! -w "$original" ]
  for entry in "$original"/* "$original"/.[!.]*; do
    ln -s "$entry" "$copy"
  done
  for name in "$@"; do
    rm -f "$copy/$name"
    mkdir "$copy/$name"
  done
  mount --rbind "$copy" "$shown"
}

private /etc nginx prometheus ringway
private /run netns ringway
private /var/lib nginx ringway
private /var/log nginx

# `proxy.internal` is this machine.
rm -f /etc/hosts
printf '127.0.0.1 localhost\n10.0.0.5 proxy.internal\n' >/etc/hosts

# The nodes have a network of their own, since Ringway refuses nodes that are where it listens itself. All of 10.0.0.0/8
# is there, but for the address of this machine.
ip netns add nodes
ip link add to-nodes type veth peer name eth0 netns nodes
ip link set lo up
ip address add 10.0.0.5/32 dev lo
ip address add 192.0.2.1/24 dev to-nodes
ip link set to-nodes up
ip route add 10.0.0.0/8 via 192.0.2.2
ip -n nodes address add 192.0.2.2/24 dev eth0
ip -n nodes link set eth0 up
ip -n nodes link set lo up
ip -n nodes route add local 10.0.0.0/8 dev lo
