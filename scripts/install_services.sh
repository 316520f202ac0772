#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install what tests marked `services` need and this machine lacks. Today that is a C compiler, for the shim that
# drops un-fsynced writes, and promtool, which makes alert rules fire. Redis, PostgreSQL and a browser join the list when a marked test first asks for them.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v promtool >/dev/null || missing+=(prometheus)

if [ ${#missing[@]} -eq 0 ]; then
  echo "services: nothing to install"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "services: ${missing[*]} missing and there is no apt-get here; install them and run this again" >&2
  exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
