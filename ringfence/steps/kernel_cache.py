# SPDX-License-Identifier: Apache-2.0
"""Where compiled kernels are kept between processes.

numba keeps a kernel beside its source and makes it anew when that one file changes, but not when a kernel it calls
does, nor a constant from another module: after an edit or an upgrade, old machine code could answer. So the cache is
named after the sources of all kernels together. It also works where the installation is read-only.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]


def kernel_digest() -> str:
    """Return 16 hex digits of what compiled code is made from: every kernel, and the constants they share."""
    digest = blake2b(digest_size=8)
    for path in sorted((*PACKAGE.rglob("_kernels*.py"), PACKAGE / "engine" / "layout.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def use_kernel_cache(environment: MutableMapping[str, str]) -> None:
    """Point numba, before it is imported, to the cache of these sources; an explicit NUMBA_CACHE_DIR stays.

    Below $XDG_CACHE_HOME or ~/.cache. Where that cannot be written, numba falls back to its own choice.
    """
    caches = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment.setdefault("NUMBA_CACHE_DIR", str(caches / "ringfence" / f"kernels-{kernel_digest()}"))
