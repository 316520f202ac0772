#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Write constraints.txt from what .venv holds: upgrade there, run the tests, then pin.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# SPDX-License-Identifier: Apache-2.0"
  echo "# Exact versions, for plain pip: pip install -c constraints.txt -e '.[dev]'. Written by scripts/pin_constraints.sh."
  .venv/bin/python -m pip freeze | grep -v -i -E '^(#|-e|ringfence|pip=|setuptools=)' | LC_ALL=C sort -f
} > constraints.txt
