#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install what tests marked `services` need and this machine lacks. Today that is a C compiler, for the shim that
# drops un-fsynced writes, promtool, which makes alert rules fire, and redis-server, which the peer of
# `python -m benchmarks.service --peer` keeps its windows in. PostgreSQL and a browser join the list when a marked test
# first asks for them.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
needs_redis=false
# redis-tools holds the server's program under the name of another; the package redis-server would start one as well.
command -v redis-server >/dev/null || { needs_redis=true && missing+=(redis-tools); }
needs_promtool=false
command -v promtool >/dev/null || needs_promtool=true

if [ ${#missing[@]} -eq 0 ] && [ "$needs_promtool" = false ]; then
  echo "services: nothing to install"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "services: ${missing[*]} promtool missing and there is no apt-get here; install them and run this again" >&2
  exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
$as_root apt-get update -qq
if [ ${#missing[@]} -ne 0 ]; then
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
fi
if [ "$needs_redis" = true ]; then
  $as_root ln -sf "$(command -v redis-check-rdb)" /usr/local/bin/redis-server
fi
if [ "$needs_promtool" = true ]; then
  # Out of the package, without installing it: that would start a server that nobody here asks for.
  folder="$(mktemp -d)"
  chmod 755 "$folder"
  (cd "$folder" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .)
  $as_root install -m 755 "$folder/usr/bin/promtool" /usr/local/bin/promtool
  rm -rf "$folder"
fi
