# SPDX-License-Identifier: Apache-2.0
"""One event's neighbourhood as few bytes: what outlives its batch, and what a decision's digest is of.

    bits of the mask | seats, float32 | sampled events, float32, those whose mask is true, in order

Slots whose mask is false hold zeros, so nothing is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.models.gnn_inputs import Sampled, SampledArrays


def pack(sampled: Sampled, at: int) -> bytes:
    """Return the neighbourhood of event `at`; equal ones give equal bytes."""
    mask = sampled.mask[at]
    return b"".join((np.packbits(mask).tobytes(), sampled.nodes[at].tobytes(), sampled.events[at][mask].tobytes()))


def unpack(data: bytes, like: SampledArrays) -> SampledArrays | None:
    """Return what `pack` was given, as the neighbourhood of one event; None where it is of another shape.

    Parameters
    ----------
    like : neighbourhoods of any number of events, of the shape that is expected.
    """
    shape = like.mask.shape[1:]
    n_slots = int(np.prod(shape))
    n_bits, n_nodes = -(-n_slots // 8), 4 * int(np.prod(like.nodes.shape[1:]))
    if len(data) < n_bits + n_nodes:
        return None
    mask: NDArray[np.bool_] = np.unpackbits(np.frombuffer(data, np.uint8, n_bits), count=n_slots).astype(np.bool_)
    width = like.events.shape[3]
    if len(data) != n_bits + n_nodes + 4 * width * int(mask.sum()):
        return None
    events = np.zeros((n_slots, width), np.float32)
    events[mask] = np.frombuffer(data, np.float32, offset=n_bits + n_nodes).reshape(-1, width)
    nodes = np.frombuffer(data, np.float32, n_nodes // 4, offset=n_bits)
    return SampledArrays(
        events.reshape(1, *shape, width), mask.reshape(1, *shape), nodes.reshape(1, *like.nodes.shape[1:])
    )


def one_of(near: Sampled, at: int) -> SampledArrays:
    """Return the neighbourhood of event `at` alone, as views."""
    one = slice(at, at + 1)
    return SampledArrays(near.events[one], near.mask[one], near.nodes[one])


def joined(parts: list[SampledArrays]) -> SampledArrays:
    """Return neighbourhoods of several events, or of several lots of them, as one; at least one."""
    if len(parts) == 1:
        return parts[0]
    return SampledArrays(
        np.concatenate([part.events for part in parts]),
        np.concatenate([part.mask for part in parts]),
        np.concatenate([part.nodes for part in parts]),
    )
