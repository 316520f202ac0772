# SPDX-License-Identifier: Apache-2.0
"""The texts of decided events, whole, for models that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.records import EventBody, Kind
from ringfence.ledger.segments import RECORDS, SEGMENTS, attribute_column

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.event import Event
    from ringfence.scenario.spec import Attribute


def event_texts(ledger: Ledger, seqs: NDArray[np.int64]) -> tuple[list[str | None], ...]:
    """Read what decided events say in the text attributes that models may read (`Scenario.read_texts`).

    Parameters
    ----------
    seqs : shape (n,), of events of the decided type, in any order.

    Returns
    -------
    A list of n for each attribute, in the scenario's order; None where the event does not give it, or its import came
    before the attribute was declared. Nothing at all where there is no such attribute.
    """
    wanted = ledger.scenario.read_texts
    if not wanted or not seqs.shape[0]:
        return tuple([] for _ in wanted)
    decided, first, last = ledger.scenario.decided, int(seqs.min()), int(seqs.max())
    live = {
        record.seq: _texts(record.body.event, wanted)
        for record in ledger.records(first - 1, (Kind.EVENT,), until_seq=last)
        if isinstance(record.body, EventBody) and record.body.event.event_type == decided.name
    }
    imported = [segment for segment in ledger.segments() if segment.first_seq <= last and segment.last_seq >= first]
    if not imported:  # as for one decision, after its answer: a join costs more than all else there
        nothing = [None] * len(wanted)
        told = [live.get(seq, nothing) for seq in seqs.tolist()]
        return tuple([texts[place] for texts in told] for place in range(len(wanted)))
    asked = pl.DataFrame({"seq": pl.Series(seqs, dtype=pl.Int64)})
    parts = [pl.DataFrame(schema={"seq": pl.Int64, **{a.name: pl.String() for a in wanted}})]
    for segment in imported:
        scan = pl.scan_parquet(ledger.directory / SEGMENTS / segment.path / RECORDS, glob=False)
        present = set(scan.collect_schema().names())
        given = [
            (pl.col(column) if (column := attribute_column(decided, a)) in present else pl.lit(None))
            .cast(pl.String)
            .alias(a.name)
            for a in wanted
        ]
        near = scan.filter(pl.col("seq").is_between(first, last))
        parts.append(near.select("seq", *given).join(asked.lazy(), on="seq", how="semi").collect())
    if live:
        rows = [(seq, *texts) for seq, texts in live.items()]
        parts.append(pl.DataFrame(rows, schema=parts[0].schema, orient="row").join(asked, on="seq", how="semi"))
    found = asked.join(pl.concat(parts), on="seq", how="left", maintain_order="left")
    return tuple(found[a.name].to_list() for a in wanted)


def _texts(event: Event, wanted: Sequence[Attribute]) -> list[str | None]:
    found = (event.attributes.get(attribute.name) for attribute in wanted)
    return [None if text is None else str(text) for text in found]
