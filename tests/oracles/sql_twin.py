# SPDX-License-Identifier: Apache-2.0
"""The engine's features in SQL: a ledger as five tables, and the queries of `sql/`, run in DuckDB in their order.

Nothing in the queries comes from the engine: no kernels, no state, no order of processing, only joins on "earlier".
They cover every family but `rings` (ticks of an iterated walk: see `ring_twin`) and attributes, which are as given.
Records must be in time order, as an import leaves them; late events are the business of the other twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringfence.engine.catalogue import MOST_PAIRINGS
from ringfence.engine.layout import PAIR_FAN
from ringfence.engine.windows import granule_ms, span_text
from ringfence.scenario.batch import EVENT, LABEL, MISSING_AMOUNT, Batch
from ringfence.scenario.spec import Scenario

QUERIES = sorted((Path(__file__).parent / "sql").glob("*.sql"))


def features_by_sql(scenario: Scenario, batches: Sequence[Batch], names: Sequence[str]) -> NDArray[np.float64]:
    """Compute features of all decided events of a ledger in SQL.

    Parameters
    ----------
    batches : the whole ledger from its first record, in time order.
    names : features, as the catalogue calls them.

    Returns
    -------
    shape (n_decided, len(names)), rows in seq order; NaN where a query has no answer.
    """
    with duckdb.connect(config={"threads": 2}) as connection:
        for name, table in {**_ledger_tables(scenario, batches), **_scenario_tables(scenario)}.items():
            connection.register("given", table)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            connection.unregister("given")
        longest_ms = scenario.windows_ms[-1]
        amount = scenario.decided.amount
        settings = {
            "minor_per_major": 10.0 ** (amount.digits if amount is not None else 0),
            "quiet_ms": longest_ms,
            "retention_ms": longest_ms + granule_ms(longest_ms) + scenario.max_lateness_ms,
        }
        for name, value in settings.items():
            connection.execute(f"SET VARIABLE {name} = {value!r}")
        for query in QUERIES:
            connection.execute(query.read_text("utf-8"))
        connection.register("given", pa.table({"feature": list(names), "place": np.arange(len(names))}))
        found = connection.execute(
            "SELECT n.place AS row, g.place AS col, f.value "
            "FROM features f JOIN given g USING (feature) JOIN "
            "(SELECT seq, row_number() OVER (ORDER BY seq) - 1 AS place FROM events WHERE decided) n USING (seq)"
        ).fetchnumpy()
        n_rows = connection.execute("SELECT count(*) FROM events WHERE decided").fetchone()
    assert n_rows is not None
    rows = np.full((n_rows[0], len(names)), np.nan)
    rows[found["row"], found["col"]] = found["value"]
    return rows


def _ledger_tables(scenario: Scenario, batches: Sequence[Batch]) -> dict[str, pa.Table]:
    whole = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in Batch.__struct_fields__
        if name != "link_start"
    }
    n_links = np.concatenate([np.diff(batch.link_start) for batch in batches])
    is_event, is_label = whole["kind"] == EVENT, whole["kind"] == LABEL
    assert (np.diff(whole["time_ms"]) >= 0).all(), "records are not in time order"
    seq_of_link = np.repeat(whole["seq"], n_links)
    of_event = np.repeat(is_event, n_links)
    position = np.arange(seq_of_link.shape[0]) - np.repeat(np.cumsum(n_links) - n_links, n_links)
    assert np.unique(np.stack([seq_of_link, whole["link_role"]]), axis=1, return_counts=True)[1].max() <= PAIR_FAN
    types = np.array([event_type.name for event_type in scenario.event_types])
    roles = np.array([role.name for role in scenario.roles])
    amount = whole["amount_minor"][is_event]
    texts = [
        pa.table(
            {
                "seq": whole["seq"][told],
                "attribute": np.full(int(told.sum()), attribute.name),
                "simhash": whole["simhash"][told, a],
            }
        )
        for a, attribute in enumerate(scenario.text_attributes if whole["simhash"].shape[1] else ())
        for told in [is_event & (whole["simhash"][:, a] != 0)]
    ]
    nothing = pa.table({"seq": np.zeros(0, np.int64), "attribute": np.zeros(0, "U1"), "simhash": np.zeros(0, "u8")})
    return {
        "events": pa.table(
            {
                "seq": whole["seq"][is_event],
                "type": types[whole["event_type"][is_event]],
                "decided": whole["event_type"][is_event] == scenario.decided.index,
                "time_ms": whole["time_ms"][is_event],
                "offset_ms": whole["offset_ms"][is_event],
                "amount": pa.array(amount, mask=amount == MISSING_AMOUNT),
            }
        ),
        "links": pa.table(
            {
                "seq": seq_of_link[of_event],
                "position": position[of_event],
                "role": roles[whole["link_role"][of_event]],
                "entity": whole["link_lo"][of_event],
            }
        ),
        "labels": pa.table(
            {
                "seq": whole["seq"][is_label],
                "event_seq": whole["label_event_seq"][is_label],
                "known_at_ms": whole["time_ms"][is_label],
                "value": whole["label_value"][is_label].astype(np.int64),
                "replaces": whole["label_replaces"][is_label].astype(np.int64),
            }
        ),
        "texts": pa.concat_tables(texts) if texts else nothing,
    }


def _scenario_tables(scenario: Scenario) -> dict[str, pa.Table]:
    decided = [scenario.role(column.role) for column in scenario.decided.roles]
    decided.sort(key=lambda role: role.index)
    types = [role.entity_type for role in decided]
    pairs = [(a.name, b.name) for i, a in enumerate(decided) for b in decided[i + 1 :]][:MOST_PAIRINGS]
    readers = []
    for role in decided:
        readers.append((role.name, role.name, f"{scenario.decide}/{role.name}"))
        if types.count(role.entity_type) > 1:
            readers.append((role.name, f"{role.name}.any_role", f"any/{role.entity_type}"))
        for context in scenario.event_types:
            for column in context.roles if context.name != scenario.decide else ():
                other = scenario.role(column.role)
                if other.name == role.name:
                    readers.append((role.name, f"{role.name}.{context.name}", f"{context.name}/{role.name}"))
                elif other not in decided and other.entity_type == role.entity_type:
                    prefix = f"{role.name}.{context.name}.{other.name}"
                    readers.append((role.name, prefix, f"{context.name}/{other.name}"))
    spans = scenario.windows_ms
    return {
        "roles": pa.table(
            {
                "role": [role.name for role in decided],
                "entity_type": types,
                "is_many": [role.many for role in decided],
                "is_shared": [types.count(role.entity_type) > 1 for role in decided],
                "hub_cap": [role.hub_cap for role in decided],
            }
        ),
        "readers": pa.table(
            dict(zip(("role", "prefix", "stream"), map(list, zip(*readers, strict=True)), strict=True))
        ),
        "pairings": pa.table({"role_a": [a for a, _ in pairs], "role_b": [b for _, b in pairs]}),
        "windows": pa.table(
            {
                "name": [span_text(span) for span in spans],
                "span_ms": list(spans),
                "is_shortest": [span == spans[0] for span in spans],
                "is_longest": [span == spans[-1] for span in spans],
            }
        ),
    }
