# SPDX-License-Identifier: Apache-2.0
"""The door for files: a frame of source columns -> the arrays of an import, row for row what the door would say.

Files are read more leniently than messages where a file cannot say better: in CSV all is text, in Parquet a column
of whole numbers with gaps is float. Empty text and NaN mean that nothing is given. What is let in gets the encoding
that the same event gets at the door: time, amount, links, values, offset and payload digest are equal bit for bit.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.calendar import local_offset_ms
from ringfence.scenario.column_labels import read_labels
from ringfence.scenario.column_links import Links, read_links
from ringfence.scenario.derivations import input_texts
from ringfence.scenario.derived import Input, Origin
from ringfence.scenario.deriver import DerivedColumns, Deriver, GivenColumn
from ringfence.scenario.door import LARGEST_MINOR, NOT_NEGATIVE
from ringfence.scenario.errors import InvalidEventError, did_you_mean
from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import IdentityKey, id_texts
from ringfence.scenario.lookup_files import Lookups
from ringfence.scenario.payload import INPUT_TYPE, TYPE_NUMBER, PayloadDigests, input_word, personal_word, tag_of
from ringfence.scenario.rejects import Rejects
from ringfence.scenario.spec import Amount, Attribute, AttributeType, EventType, Scenario
from ringfence.scenario.times import (
    EVENT_TIME_FROM_MS,
    EVENT_TIME_TO_MS,
    HOW_TO_WRITE,
    NOT_MILLISECONDS,
    doubtful_moments,
    look_like_seconds,
    moments_ms,
)
from ringfence.scenario.values import HOW_TO_WRITE as ATTRIBUTE_RULE
from ringfence.scenario.values import canonical_values, text_hashes, values_of

ROW_MS: Final = 1_000  # without an event time, row k of a source happens k seconds after 1970 began


class ColumnarAdmission(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that were let in, in file order. n rows, m links."""

    event_type: EventType
    row: NDArray[np.int64]  # (n,) row number in the source
    event_id: pl.Series  # (n,) String
    time_ms: NDArray[np.int64]  # (n,)
    offset_ms: NDArray[np.int32]  # (n,)
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none
    values: NDArray[np.float64]  # (n, len(scenario.value_attributes)); NaN for context events
    attributes: pl.DataFrame  # (n, attributes that are not personal), canonical form, by attribute name
    personal: pl.DataFrame  # (n, personal attributes), canonical form, by attribute name
    link_start: NDArray[np.int64]  # (n + 1,)
    link_role: NDArray[np.uint8]  # (m,)
    link_lo: NDArray[np.uint64]  # (m,)
    link_hi: NDArray[np.uint64]  # (m,)
    payload_hi: NDArray[np.uint64]  # (n,) the 16-byte digest of the door is hi then lo, big endian
    payload_lo: NDArray[np.uint64]  # (n,)
    label_value: NDArray[np.int8]  # (n,) FRAUD, LEGIT, or NO_LABEL where the source says nothing
    label_known_at_ms: NDArray[np.int64]  # (n,) 0 where there is no label
    directory: pl.DataFrame  # distinct entities: hi, lo (UInt64), entity_type, entity_id (String)
    rejects: pl.DataFrame  # what was not let in: row (Int64), column, found, reason (String)
    derivable: dict[str, NDArray[np.bool_]]  # derived value -> (n,) where all that it is made of is given
    underived: dict[str, NDArray[np.bool_]]  # derived value -> (n,) where what is given did not yield it
    unlisted: dict[str, NDArray[np.bool_]]  # of lookups, (n,) where that is so since no row of the file holds it
    skipped: NDArray[np.bool_]  # (n,) where the event's local time was skipped when the clocks went forward
    doubled: NDArray[np.bool_]  # (n,) where the clocks showed it twice when they went back

    def __len__(self) -> int:
        return int(self.row.shape[0])

    def payload_digests(self) -> pl.Series:
        """The payload digests as 16-byte values; shape (n,), Binary."""
        halves = np.empty((len(self), 2), ">u8")
        halves[:, 0], halves[:, 1] = self.payload_hi, self.payload_lo
        packed = halves.tobytes()
        return pl.Series("payload_digest", [packed[i : i + 16] for i in range(0, len(packed), 16)], dtype=pl.Binary)


class Columns:
    """Lets rows of files in. Holds no state: equal frames give equal admissions.

    Parameters
    ----------
    lookups : the prepared tables of its derived values, where there are any.
    """

    def __init__(self, scenario: Scenario, identity: IdentityKey, lookups: Lookups | None = None) -> None:
        self._scenario = scenario
        self._identity = identity
        self._lookups = lookups or {}
        self._derivers: dict[str, Deriver] = {}

    def admit(self, event_type: EventType, frame: pl.DataFrame, first_row: int) -> ColumnarAdmission:
        """Validate rows of one source.

        Parameters
        ----------
        event_type : what the rows are.
        frame : the source's columns. A role's column may hold lists (always does for joined roles).
        first_row : the number of the frame's first row in its source; rows are counted from it.

        Raises
        ------
        InvalidEventError
            If the frame lacks a column that identifies or dates the event or holds its label. Other columns may be
            missing: nothing is given then.
        LookupFileError
            If a table that the event type's derived values are looked up in is not at hand.
        """
        rejects = Rejects(frame, first_row)
        rows = np.arange(first_row, first_row + frame.height, dtype=np.int64)
        event_id = self._event_id(event_type, frame, rows, rejects)
        time_ms = self._time_ms(event_type, frame, rows, rejects)
        digests = PayloadDigests(frame.height)
        skipped = doubled = np.zeros(frame.height, np.bool_)
        if event_type.event_time_column is not None:
            column = _column(frame, event_type.event_time_column, "event_time")
            skipped, doubled = doubtful_moments(column, self._scenario.time_zone, time_ms)
            digests.add(tag_of("time"), time_ms.view(np.uint64), 0)
        amount_minor = np.full(frame.height, MISSING_AMOUNT, np.int64)
        if event_type.amount is not None and event_type.amount.column in frame.columns:
            amount_minor = _amounts(event_type.amount, frame[event_type.amount.column], rejects)
            digests.add(tag_of("amount"), amount_minor.view(np.uint64), 0, amount_minor != MISSING_AMOUNT)
        derived = DerivedColumns({}, {}, {}, {})
        if event_type.derived:
            derived = self._derive(event_type, frame, time_ms, digests)
            frame = frame.with_columns(derived.values.values())
        links = read_links(self._scenario, event_type, frame, self._identity, rejects)
        tags = np.array([tag_of("role", role.name) for role in self._scenario.roles], np.uint64)
        if links.role.shape[0]:
            is_given = np.ones(len(self._scenario.roles), np.bool_)
            is_given[[self._scenario.role(column.role).index for column in event_type.roles if column.derived]] = False
            digests.add_links(links.start, tags[links.role], links.hi, links.lo, is_given[links.role])
        attributes, personal = self._attributes(event_type, frame, digests, rejects)
        label_value, known_at_ms = read_labels(event_type, frame, time_ms, self._scenario.time_zone, rejects)
        hi, lo = digests.halves()
        admission = ColumnarAdmission(
            event_type=event_type,
            row=rows,
            event_id=event_id,
            time_ms=time_ms,
            offset_ms=local_offset_ms(self._scenario.time_zone, time_ms),
            amount_minor=amount_minor,
            values=self._values(event_type, attributes, time_ms),
            attributes=attributes,
            personal=personal,
            link_start=links.start,
            link_role=links.role,
            link_lo=links.lo,
            link_hi=links.hi,
            payload_hi=hi,
            payload_lo=lo,
            label_value=label_value,
            label_known_at_ms=known_at_ms,
            directory=links.directory,
            rejects=rejects.frame(),
            derivable=derived.given,
            underived=derived.failed,
            unlisted=derived.unlisted,
            skipped=skipped,
            doubled=doubled,
        )
        return admission if rejects.is_empty() else _only(admission, rejects.good(), links)

    def _event_id(
        self, event_type: EventType, frame: pl.DataFrame, rows: NDArray[np.int64], rejects: Rejects
    ) -> pl.Series:
        if event_type.event_id_column is None:
            return pl.Series("event_id", rows).cast(pl.String)
        column = _column(frame, event_type.event_id_column, "event_id")
        texts, bad = id_texts(column)
        rejects.add(column.name, bad, "an id is a text of 1 to 512 characters or a whole number")
        rejects.add(column.name, texts.is_null().to_numpy() & ~bad, "every event needs an id")
        return texts.alias("event_id")

    def _time_ms(
        self, event_type: EventType, frame: pl.DataFrame, rows: NDArray[np.int64], rejects: Rejects
    ) -> NDArray[np.int64]:
        if event_type.event_time_column is None:
            return rows * ROW_MS
        column = _column(frame, event_type.event_time_column, "event_time")
        time_ms, missing, bad = moments_ms(column, self._scenario.time_zone)
        rejects.add(column.name, missing, "every event needs a time")
        rejects.add(column.name, bad, HOW_TO_WRITE)
        rejects.add(column.name, look_like_seconds(column), NOT_MILLISECONDS)
        outside = (time_ms < EVENT_TIME_FROM_MS) | (time_ms >= EVENT_TIME_TO_MS)
        rejects.add(column.name, outside, "a time lies in the years 1970 to 2199")
        return np.where(outside, np.int64(0), time_ms)

    def _attributes(
        self, event_type: EventType, frame: pl.DataFrame, digests: PayloadDigests, rejects: Rejects
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        kept: list[pl.Series] = []
        personal: list[pl.Series] = []
        for attribute in event_type.attributes:
            if attribute.column in frame.columns:
                column = frame[attribute.column]
                values, bad = canonical_values(attribute, column, self._scenario.time_zone)
                rule = f"{attribute.name} is {ATTRIBUTE_RULE[attribute.type]}"
                rejects.add(attribute.column, bad, rule, personal=attribute.personal)
                given = values.is_not_null().to_numpy()
                if given.any() and not attribute.derived:  # what it is made of is in the digest
                    words = self._words(attribute, values)
                    digests.add(tag_of("attribute", attribute.name), words, TYPE_NUMBER[attribute.type], given)
            else:
                values, _ = canonical_values(attribute, pl.Series([None] * frame.height, dtype=pl.String), "UTC")
            (personal if attribute.personal else kept).append(values.alias(attribute.name))
        return _frame(kept), _frame(personal)

    def _derive(
        self, event_type: EventType, frame: pl.DataFrame, time_ms: NDArray[np.int64], digests: PayloadDigests
    ) -> DerivedColumns:
        columns = {column.role: column.column for column in event_type.given_roles}
        attributes = {attribute.name: attribute for attribute in event_type.given_attributes}
        nothing = pl.Series([None] * frame.height, dtype=pl.String)

        def find(item: Input) -> GivenColumn:
            if item.origin is Origin.ATTRIBUTE:
                attribute = attributes[item.name]
                values = frame[attribute.column] if attribute.column in frame.columns else nothing
                return GivenColumn(*input_texts(canonical_values(attribute, values, self._scenario.time_zone)[0]))
            name = columns[item.name] if item.origin is Origin.ROLE else item.name
            values = frame[name] if name in frame.columns else nothing
            if item.origin is Origin.ROLE:
                if isinstance(values.dtype, pl.List | pl.Array):  # a joined role: one entity, or the row is rejected
                    values = values.list.first() if isinstance(values.dtype, pl.List) else values.arr.first()
                texts, _ = id_texts(values)
                return GivenColumn(texts, texts.is_not_null().to_numpy())
            return GivenColumn(*input_texts(values))

        for name in event_type.inputs:
            factor = factorise(find(Input(name=name, origin=Origin.COLUMN)).texts)
            words = [input_word(name, text, self._identity) for text in factor.uniques.to_list()]
            given = factor.codes >= 0
            digests.add(tag_of("input", name), np.array([*words, 0], np.uint64)[factor.codes], INPUT_TYPE, given)
        if event_type.name not in self._derivers:
            self._derivers[event_type.name] = Deriver(event_type, self._lookups)
        return self._derivers[event_type.name].of_columns(find, time_ms)

    def _words(self, attribute: Attribute, values: pl.Series) -> NDArray[np.uint64]:
        """The payload words of a canonical column; anything where missing."""
        if attribute.personal:
            factor = factorise(values)
            # A time is a float in an event and Int64 in a column; the words of both are those of the float.
            uniques = factor.uniques.cast(pl.Float64) if attribute.type is AttributeType.TIME else factor.uniques
            words = [personal_word(attribute, value, self._identity) for value in uniques.to_list()]
            return np.array([*words, 0], np.uint64)[factor.codes]
        if attribute.type in (AttributeType.CATEGORY, AttributeType.TEXT):
            factor = factorise(values)
            return np.append(text_hashes(factor.uniques.to_list()), np.uint64(0))[factor.codes]
        if attribute.type is AttributeType.BOOLEAN:
            return values.fill_null(False).cast(pl.UInt64).to_numpy()
        return values.cast(pl.Float64).fill_null(0.0).to_numpy().view(np.uint64)

    def _values(
        self, event_type: EventType, attributes: pl.DataFrame, time_ms: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        wanted = self._scenario.value_attributes
        values = np.full((time_ms.shape[0], len(wanted)), np.nan)
        if event_type.name == self._scenario.decide:
            for i, attribute in enumerate(wanted):
                values[:, i] = values_of(attribute, attributes[attribute.name], time_ms)
        return values


def _amounts(amount: Amount, column: pl.Series, rejects: Rejects) -> NDArray[np.int64]:
    number, bad = canonical_values(Attribute(name="amount", column="", type=AttributeType.NUMBER), column, "UTC")
    missing = number.is_null().to_numpy()
    with np.errstate(over="ignore"):
        scaled = np.rint(number.fill_null(0.0).to_numpy() * 10.0**amount.digits)
    bad |= ~(np.abs(scaled) < LARGEST_MINOR)
    rejects.add(
        column.name, bad, f"an amount is a finite number of {amount.currency}, less than 2^53 of its smallest unit"
    )
    if not amount.negative:
        rejects.add(column.name, ~bad & (scaled < 0.0), NOT_NEGATIVE)
    return np.where(missing | bad, np.int64(MISSING_AMOUNT), np.where(bad, 0.0, scaled).astype(np.int64))


def _column(frame: pl.DataFrame, name: str, what: str) -> pl.Series:
    if name not in frame.columns:
        raise InvalidEventError(name, "no such column", f"{what} is mapped to it; {did_you_mean(name, frame.columns)}")
    return frame[name]


def _frame(columns: list[pl.Series]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def _only(admission: ColumnarAdmission, good: NDArray[np.bool_], links: Links) -> ColumnarAdmission:
    """Keep the good rows, and in the directory the entities that they name."""
    mask = pl.Series(good)
    kept = links.only(good)
    return ColumnarAdmission(
        event_type=admission.event_type,
        row=admission.row[good],
        event_id=admission.event_id.filter(mask),
        time_ms=admission.time_ms[good],
        offset_ms=admission.offset_ms[good],
        amount_minor=admission.amount_minor[good],
        values=admission.values[good],
        attributes=admission.attributes.filter(mask) if admission.attributes.width else admission.attributes,
        personal=admission.personal.filter(mask) if admission.personal.width else admission.personal,
        link_start=kept.start,
        link_role=kept.role,
        link_lo=kept.lo,
        link_hi=kept.hi,
        payload_hi=admission.payload_hi[good],
        payload_lo=admission.payload_lo[good],
        label_value=admission.label_value[good],
        label_known_at_ms=admission.label_known_at_ms[good],
        directory=kept.directory,
        rejects=admission.rejects,
        derivable={name: rows[good] for name, rows in admission.derivable.items()},
        underived={name: rows[good] for name, rows in admission.underived.items()},
        unlisted={name: rows[good] for name, rows in admission.unlisted.items()},
        skipped=admission.skipped[good],
        doubled=admission.doubled[good],
    )
