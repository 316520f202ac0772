# SPDX-License-Identifier: Apache-2.0
"""Batches put together, and taken apart in another order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.scenario.batch import Batch

_OF_LINKS: Final = ("link_role", "link_lo", "link_hi")
_OF_RECORDS: Final = tuple(name for name in Batch.__struct_fields__ if name not in (*_OF_LINKS, "link_start"))


def taken(batch: Batch, order: NDArray[np.int64]) -> Batch:
    """Return the records at `order`, shape (k,), each with its links; a place may come twice."""
    start, links = links_of(batch, order)
    parts = {name: getattr(batch, name)[order] for name in _OF_RECORDS}
    return Batch(link_start=start, **parts, **{name: getattr(batch, name)[links] for name in _OF_LINKS})


def links_of(batch: Batch, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the links of the records at `order` would start, shape (k + 1,), and which links those are."""
    counts = np.diff(batch.link_start)[order]
    start = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
    return start, np.repeat(batch.link_start[:-1][order] - start[:-1], counts) + np.arange(start[-1])


def joined(batches: Iterable[Batch]) -> Batch:
    """Return all records of batches that follow each other, at least one batch, as one."""
    parts = list(batches)
    n_links = np.cumsum([0, *(part.link_role.shape[0] for part in parts)])
    starts = [part.link_start[:-1] + before for part, before in zip(parts, n_links[:-1].tolist(), strict=True)]
    return Batch(
        link_start=np.concatenate([*starts, n_links[-1:]]),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_OF_RECORDS, *_OF_LINKS)},
    )
