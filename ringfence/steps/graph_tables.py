# SPDX-License-Identifier: Apache-2.0
"""The columns of an exported graph: their types, and values of the ledger as they stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.spec import Attribute, AttributeType, EventType

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario

_MOMENT: Final = pa.timestamp("ms", tz="UTC")
_ARROW: Final = {
    AttributeType.NUMBER: pa.float64(),
    AttributeType.CATEGORY: pa.string(),
    AttributeType.BOOLEAN: pa.bool_(),
    AttributeType.TEXT: pa.int64(),
    AttributeType.TIME: _MOMENT,
}
LABEL_SCHEMA: Final = pa.schema(
    [("seq", pa.int64()), ("event", pa.int64()), ("known_at", _MOMENT), ("label", pa.int8())]
)
EDGE_SCHEMA: Final = pa.schema(
    [("event", pa.int64()), ("entity", pa.int64()), ("seat", pa.int16()), ("seq", pa.int64()), ("event_time", _MOMENT)]
)


def event_schema(event_type: EventType, scenario: Scenario) -> Any:
    """The columns of an event type's nodes; only the decided type has ids, labels and attributes."""
    fields = [("node", pa.int64()), ("seq", pa.int64())]
    is_decided = event_type.name == scenario.decide
    if is_decided:
        fields.append(("event_id", pa.string()))
    fields.append(("event_time", _MOMENT))
    if event_type.amount is not None:
        fields.append(("amount", pa.float64()))
    if is_decided:
        fields += [("part", pa.string()), ("label", pa.int8()), ("label_known_at", _MOMENT)]
        fields += [(column_of(a), _ARROW[a.type]) for a in scenario.value_attributes]
    return pa.schema(fields)


def column_of(attribute: Attribute) -> str:
    """The column of an attribute, which may be called as one of ours, but for the dot."""
    return f"attribute.{attribute.name}"


def given_values(attribute: Attribute, values: pl.Series) -> pl.Series:
    """Values as `event_columns` reads them, as they are written: times as moments, of texts the length."""
    match attribute.type:
        case AttributeType.TIME:
            return values.cast(pl.Int64).cast(pl.Datetime("ms", "UTC"))
        case AttributeType.TEXT:
            return values.cast(pl.Int64)
    return values


def moments(time_ms: NDArray[np.int64]) -> Any:
    """Milliseconds since 1970 as moments in UTC."""
    return pa.array(time_ms).cast(_MOMENT)


def major(amount_minor: NDArray[np.int64], digits: int) -> pl.Series:
    """Amounts in major units, null where there is none."""
    missing = amount_minor == MISSING_AMOUNT
    amounts = np.where(missing, 0, amount_minor).astype(np.float64) / 10.0**digits
    return pl.Series(amounts).set(pl.Series(missing), None)


def seats(record: NDArray[np.int64], role: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the place of each link among those of its record and role, from 0; links of a record lie by role."""
    if not len(record):
        return np.zeros(0, np.int16)
    begins = np.ones(len(record), np.bool_)
    begins[1:] = (record[1:] != record[:-1]) | (role[1:] != role[:-1])
    places = np.arange(len(record))
    return (places - np.maximum.accumulate(np.where(begins, places, 0))).astype(np.int16)
