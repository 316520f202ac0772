# SPDX-License-Identifier: Apache-2.0
"""The sequence model: a recurrent network over the last events of an entity, oldest to newest.

It is a network over sampled neighbourhoods like the graph network (`ringfence.training.gnn`), with other options: a
recurrent unit in place of a gate, the roles that are declared `sequence`, and nothing of what lies one hop further.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ringfence.training.gnn_options import GnnOptions, default_options


def sequence_options(n_fraud: int, roles: Sequence[str]) -> GnnOptions:
    """Return the options of a sequence model of the entities in `roles`, for so many frauds to learn from."""
    return msgspec.structs.replace(default_options(n_fraud), gather="recurrent", hops=1, roles=tuple(roles))
