# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""The digest of one event's items, mixed in compiled code: 64-bit arithmetic is slow in Python, and all events pay."""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.scenario._kernels_simhash import mixed


@njit(cache=True, nogil=True, _nrt=False)
def digest_items(items, seeds, out):
    """Write the halves of the digest of items (tag, a, b), shape (n, 3), to `out`, shape (2,); all uint64."""
    for half in range(2):
        total = np.uint64(0)
        for i in range(items.shape[0]):
            total += mixed(mixed(mixed(seeds[half] + items[i, 0]) + items[i, 1]) + items[i, 2])
        out[half] = mixed(total)
