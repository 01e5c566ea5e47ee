# Installs packages on Debian and its relatives; to be sourced.

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts services when it installs them; the tests start their own, on free ports. While this policy answers 101
# ("forbidden by policy"), nothing is started; one that was there before is left as it is.
install_packages() {
  local policy=/usr/sbin/policy-rc.d ours=no
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  local installed=yes
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || installed=no
  if [ "$ours" = yes ]; then
    as_root rm "$policy"
  fi
  [ "$installed" = yes ]
}
