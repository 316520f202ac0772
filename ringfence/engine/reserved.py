# SPDX-License-Identifier: Apache-2.0
"""Memory that is reserved at once and taken when it is first touched, in small pages or large ones."""

from __future__ import annotations

import contextlib
import mmap
import platform
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# MAP_NORESERVE, for which Python's mmap has no name: nothing counts against what the machine has until it is touched.
_UNCOUNTED: Final = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0
LARGE_FROM: Final = 1 << 30  # bytes in use; below, the processor knows where most small pages are
_ADVICE: Final = {
    small: getattr(mmap, name, None) for small, name in ((True, "MADV_NOHUGEPAGE"), (False, "MADV_HUGEPAGE"))
}


def reserved(shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros that begin with a cache line and cost nothing until they are written, in small pages."""
    dtype = np.dtype(dtype)
    shape = shape if isinstance(shape, tuple) else (shape,)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    if n_bytes < mmap.PAGESIZE:
        return np.zeros(shape, dtype)
    room = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _UNCOUNTED)
    _advise(room, small=True)
    zeros: NDArray[Any] = np.frombuffer(room, np.uint8).view(dtype).reshape(shape)
    return zeros


def take_pages(array: NDArray[Any], *, small: bool) -> None:
    """Say in what pages an array takes memory from now on; what it has stays as it is.

    Large ones spare a long replay time: most of what it waits for is where a page lies. But two megabytes are cleared
    when one is first touched, and a live event would wait for that.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, mmap.mmap):
        _advise(owner, small=small)


def _advise(room: mmap.mmap, *, small: bool) -> None:
    advice = _ADVICE[small]
    if advice is not None:
        with contextlib.suppress(OSError):  # a kernel without large pages: nothing is lost
            room.madvise(advice)
