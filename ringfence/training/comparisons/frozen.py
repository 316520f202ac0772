# SPDX-License-Identifier: Apache-2.0
"""What is it worth to know the day so far? Features are read as of the midnight before each event.

    ledger    ──a──b──│──c──d──e──▶     live: e sees a, b, c, d
                  midnight              frozen: e sees a, b

The event itself is as it came, at its own time: only what was reported and what became known since midnight is hidden,
as it is from features that a nightly batch prepared.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.spine import spine_rows
from ringfence.models.seen import Seen
from ringfence.scenario.batches import joined, taken
from ringfence.scenario.calendar import local_offset_ms, to_utc_ms
from ringfence.training.comparisons.remade import Remade, Trees
from ringfence.training.comparisons.study import Study, in_words
from ringfence.training.evaluation import DAY_MS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TITLE: Final = "Live features against features frozen at midnight"
QUESTION: Final = "Would features from a nightly batch do as well as those that know the day so far?"


def frozen_study(remade: Remade) -> Study:
    """Fit and judge trees on frozen rows; and, where later events are judged, let the live trees read frozen rows."""
    frozen, compared = frozen_rows(remade), remade.comparison()
    found = compared.add("frozen at midnight", remade.trees(frozen), text="fitted on frozen features, too")
    if remade.judges_later:
        fitted, _, _, n_features = remade.whole
        scores = fitted.scores(Seen(frozen[remade.judged]))
        trees = Trees(fitted, scores, remade.whole.seconds, n_features)
        compared.add("fitted live, answered frozen", trees, text="what a feature store that lags does to a live model")
    gain = found.against["average_precision"]
    differ = (frozen != remade.rows) & ~(np.isnan(frozen) & np.isnan(remade.rows))
    share = float(differ.any(axis=1)[remade.judged].mean())
    worth = (
        f"Knowing the day so far is worth {in_words(gain)} of average precision."
        if gain.low > 0.0
        else "Features frozen at midnight do about as well here: knowing the day so far is worth "
        f"{in_words(gain)} of average precision."
    )
    return compared.study(
        "frozen",
        title=TITLE,
        question=QUESTION,
        answer=worth,
        is_good=None,
        notes=[
            f"{share:.1%} of the judged events have a feature that is another one when frozen. Midnight is that of "
            f"{remade.release.scenario.time_zone}."
        ],
    )


def frozen_rows(remade: Remade) -> FloatArray:
    """Return the rows of all events, shape (n + m, n_features), as of the last record before their local midnight."""
    last = int(remade.seqs[-1])
    events = []
    for batch in remade.ledger.batches(until_seq=last):
        events.append(taken(batch, np.flatnonzero(np.isin(batch.seq, remade.seqs))))
        remade.report("finding midnights", int(batch.seq[-1]), last)
    asked = joined(events)
    by_time = np.argsort(asked.time_ms, kind="stable")
    seen = np.empty(len(asked), np.int64)
    seen[by_time] = remade.ledger.seen_at(midnights(remade.release.scenario.time_zone, asked.time_ms[by_time]))
    seen = np.minimum(seen, asked.seq - 1)
    order = np.lexsort((asked.time_ms, seen))
    found = spine_rows(
        remade.ledger,
        remade.catalogue,
        taken(asked, order),
        seen[order],
        progress=lambda done, total: remade.report("freezing", done, total),
    )
    rows = np.empty_like(found)
    rows[order] = found
    return rows


def midnights(time_zone: str, time_ms: IntArray) -> IntArray:
    """Return the last local midnight up to each moment, UTC ms, shape (n,)."""
    local = time_ms + local_offset_ms(time_zone, time_ms)
    return to_utc_ms(time_zone, local // DAY_MS * DAY_MS)
