# SPDX-License-Identifier: Apache-2.0
"""The only appender: gives each record its seq at once, and makes groups of records durable in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger import chain
from ringfence.ledger.assembly import BatchAssembler
from ringfence.ledger.codec import SELECT_RECORD, Body, encode_body, record_of
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.errors import (
    AlreadyDecidedError,
    AlreadyPendingError,
    CommitFailedError,
    LabelFromFutureError,
    PayloadConflictError,
    UnknownEventError,
)
from ringfence.ledger.groups import Group, roll_back, write_groups
from ringfence.ledger.labels import MATURED, Precedence, Standing
from ringfence.ledger.outcomes import OutcomeIndex, outcome_of
from ringfence.ledger.pending import n_pending, pending_seq
from ringfence.ledger.records import DecisionBody, EventBody, Kind, LabelBody, PendingBody, Record
from ringfence.ledger.schema import DATABASE
from ringfence.scenario.batch import FRAUD, LEGIT, Batch
from ringfence.scenario.clock import Clock
from ringfence.scenario.event import Admission, Event, LabelNotice, Link
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.spec import Scenario

FUTURE_TOLERANCE_MS: Final = 300_000
_KNOWN_NAMES: Final = 200_000  # digests remembered as being in the directory, so that they are not sent again
_NAMES_MS: Final = 86_400_000  # and for how long: a name that `retain` dropped comes back when it is seen again

EventLookup = Callable[[int], tuple[int, int, tuple[Link, ...]]]  # seq -> event type index, event_time_ms, links
# seq of a decided event -> its values, those of its segment at least
SegmentLookup = Callable[[int], tuple[float, ...]]


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A record that has its place in the ledger and waits for the next commit."""

    seq: int
    recorded_at_ms: int
    watermark_ms: int
    late: bool = False


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """The same event came before. `decision` is None while it is undecided."""

    seq: int
    decision: Record | None


class Writer:
    """Appends to one ledger. Made by `Ledger.writer`; use it in the thread that made it.

    Order of use: stage events and labels, `batch()` to observe them, stage decisions, `commit()`, answer.
    """

    def __init__(
        self,
        directory: Path,
        scenario: Scenario,
        identity: IdentityKey,
        clock: Clock,
        connection: sqlite3.Connection,
        erasable: Erasable,
        lookup: EventLookup,
        segment_of: SegmentLookup,
        on_commit: Callable[[], None],
    ) -> None:
        self._path = directory / DATABASE
        self._identity = identity
        self._clock = clock
        self._connection = connection
        self._erasable = erasable
        self._lookup = lookup
        self._on_commit = on_commit
        outcome = outcome_of(scenario)
        self._outcomes = None if outcome is None else OutcomeIndex(connection, scenario, outcome, self._about)
        self._open = Group()
        self._sealed: list[Group] = []
        self.adopt(scenario, segment_of)
        # What the database does not know yet, so that records of one group can refer to each other.
        self._new_identity: dict[bytes, tuple[int, bytes]] = {}
        self._new_events: dict[int, tuple[int, int, tuple[Link, ...]]] = {}
        self._new_values: dict[int, tuple[float, ...]] = {}  # kept only where the scenario names segments
        self._new_decisions: dict[int, Record] = {}
        self._new_pending: dict[int, Record] = {}
        self._new_standing: dict[int, Standing] = {}
        self._foreseen: dict[bytes, tuple[int, bytes] | None] = {}  # what the database says of keys that are to come
        self._known_names: set[bytes] = set()
        self._names_until_ms = 0
        row = connection.execute(f"{SELECT_RECORD} ORDER BY seq DESC LIMIT 1").fetchone()
        self._last_seq: int = row[0] if row else 0
        self._watermark_ms: int = row[3] if row else 0
        self._chain: bytes = row[5] if row else chain.GENESIS
        due = connection.execute("SELECT min(due_ms) FROM maturing").fetchone()[0]
        self._next_due_ms: int | None = due
        self._may_wait = n_pending(connection) > 0  # whether any event may wait for the nightly batch
        self.n_late = 0

    @property
    def last_seq(self) -> int:
        """The last seq given, durable or not; 0 for an empty ledger."""
        return self._last_seq

    @property
    def watermark_ms(self) -> int:
        """The watermark at `last_seq`; 0 for an empty ledger."""
        return self._watermark_ms

    @property
    def n_staged(self) -> int:
        """How many records are not durable yet."""
        return sum(len(group.records) for group in (*self._sealed, self._open))

    def foresee(self, events: Sequence[Event]) -> None:
        """Look up at once which of these events are known; they are best staged before the next commit.

        Staging does without: this only saves a question to the database for each.
        """
        keys = [self._identity.event(event.event_type, event.event_id) for event in events]
        if not keys:
            self._foreseen = {}
            return
        query = f"SELECT key, seq, payload_digest FROM identity WHERE key IN ({','.join('?' * len(keys))})"
        known = {key: (seq, digest) for key, seq, digest in self._connection.execute(query, keys)}
        self._foreseen = {**dict.fromkeys(keys), **known}

    def stage_event(self, admission: Admission) -> Staged | Duplicate:
        """Give an event its place. Where labels come by outcome, those that it gives are staged right after it.

        Raises
        ------
        PayloadConflictError
            If its (event type, event_id) is known with another payload.
        """
        event = admission.event
        key = self._identity.event(event.event_type, event.event_id)
        known = self._identity_of(key)
        if known is not None:
            seq, digest = known
            if digest != event.payload_digest:
                raise PayloadConflictError(event.event_type, event.event_id, seq)
            return Duplicate(seq=seq, decision=self.decision_of(seq))
        answers = None if self._outcomes is None else self._outcomes.look(event)
        late = event.event_time_ms < self._watermark_ms - self._scenario.max_lateness_ms
        staged = self._append(Kind.EVENT, EventBody(event=event, late=late), event.event_time_ms, late=late)
        seq = staged.seq
        self.n_late += late
        self._open.identity.append((key, seq, event.payload_digest))
        self._new_identity[key] = (seq, event.payload_digest)
        self._new_events[seq] = (self._type_index[event.event_type], event.event_time_ms, event.links)
        if self._scenario.segments:
            self._new_values[seq] = admission.values
        if staged.recorded_at_ms >= self._names_until_ms:
            self._known_names.clear()
            self._names_until_ms = staged.recorded_at_ms + _NAMES_MS
        for digest, (entity_type, entity_id) in admission.entity_ids.items():
            if digest not in self._known_names:
                if len(self._known_names) >= _KNOWN_NAMES:
                    self._known_names.clear()
                self._known_names.add(digest)
                self._open.names.append((digest, entity_type, entity_id))
        for name, value in admission.personal.items():
            self._open.personal.append((seq, name, encode_body(value)))
        can_mature = answers is None or bool(answers.keys)  # nothing could follow an event that names nobody
        if self._legit_after_ms is not None and can_mature and event.event_type == self._scenario.decide:
            self._schedule(event.event_time_ms + self._legit_after_ms, seq)
        self._assembler.add_event(seq, event, admission.values)
        if self._outcomes is not None and answers is not None:
            known_at_ms = max(staged.recorded_at_ms, event.event_time_ms)
            for answered in self._outcomes.note(seq, event, known_at_ms, answers, self._open.outcomes):
                self._stage_label(answered, FRAUD, self._outcomes.source, known_at_ms)
        return staged

    def stage_label(self, notice: LabelNotice) -> Staged:
        """Give a label its place. It is never known before it is recorded.

        Raises
        ------
        UnknownEventError
            If the ledger does not hold the event.
        LabelFromFutureError
            If `known_at_ms` lies more than five minutes ahead.
        """
        known = self._identity_of(self._identity.event(notice.event_type, notice.event_id))
        if known is None:
            raise UnknownEventError(notice.event_type, notice.event_id)
        now_ms = self._clock.now_ms()
        known_at_ms = max(now_ms, notice.known_at_ms or now_ms)
        if known_at_ms > now_ms + FUTURE_TOLERANCE_MS:
            raise LabelFromFutureError(notice.event_id, known_at_ms, now_ms)
        return self._stage_label(known[0], notice.value, notice.source, known_at_ms)

    def standing_label(self, notice: LabelNotice) -> Standing | None:
        """The label that stands, durable or staged, for the event that `notice` is about; None where there is none.

        Raises
        ------
        UnknownEventError
            If the ledger does not hold the event.
        """
        known = self._identity_of(self._identity.event(notice.event_type, notice.event_id))
        if known is None:
            raise UnknownEventError(notice.event_type, notice.event_id)
        return self._standing_of(known[0])

    def mature(self, limit: int = 1_024) -> int:
        """Stage `matured` legit labels that are due at the watermark; at most `limit`. Returns how many are staged.

        Where nothing is due, which is nearly always, this costs a comparison.
        """
        if self._next_due_ms is None or self._next_due_ms > self._watermark_ms:
            return 0
        gone = {pair for group in (*self._sealed, self._open) for pair in group.matured}
        waiting = [pair for group in (*self._sealed, self._open) for pair in group.maturing]
        query = "SELECT due_ms, event_seq FROM maturing WHERE due_ms <= ? ORDER BY due_ms, event_seq LIMIT ?"
        stored = self._connection.execute(query, (self._watermark_ms, limit + len(gone))).fetchall()
        due = sorted({*stored, *(pair for pair in waiting if pair[0] <= self._watermark_ms)} - gone)[:limit]
        n = 0
        for due_ms, event_seq in due:
            self._open.matured.append((due_ms, event_seq))
            gone.add((due_ms, event_seq))
            if self._standing_of(event_seq) is None:
                self._stage_label(event_seq, LEGIT, MATURED, due_ms)
                n += 1
        later = self._connection.execute(
            "SELECT due_ms, event_seq FROM maturing ORDER BY due_ms, event_seq LIMIT ?", (len(gone) + 1,)
        ).fetchall()
        left = [pair[0] for pair in (*later, *waiting) if pair not in gone]
        self._next_due_ms = min(left, default=None)
        return n

    def stage_decision(self, decision: DecisionBody) -> int:
        """Give a decision its place and return its seq; its id is `d-<seq>`.

        Raises
        ------
        AlreadyDecidedError
            If the event has a decision: the first one stands.
        """
        found = self._decision_seq(decision.event_seq)
        if found is not None:
            raise AlreadyDecidedError(decision.event_seq, found)
        self._new_decisions[decision.event_seq] = record = self._append_body(Kind.DECISION, decision)
        self._open.decisions.append((decision.event_seq, record.seq))
        if self._may_wait:
            self._open.settled.append((decision.event_seq,))
        return record.seq

    def stage_pending(self, pending: PendingBody) -> Record:
        """Put on record that an event waits for the nightly batch, which its decision ends.

        Raises
        ------
        AlreadyDecidedError
            If the event has a decision.
        AlreadyPendingError
            If it waits already.
        """
        event_seq = pending.event_seq
        if (found := self._decision_seq(event_seq)) is not None:
            raise AlreadyDecidedError(event_seq, found)
        if (found := self._pending_seq(event_seq)) is not None:
            raise AlreadyPendingError(event_seq, found)
        self._new_pending[event_seq] = record = self._append_body(Kind.PENDING, pending)
        self._open.pending.append((event_seq, record.seq))
        self._may_wait = True
        return record

    def stage(self, kind: Kind, body: Body) -> int:
        """Give a record of another kind (such as a release, a tick, a review requested) its place; return its seq."""
        if kind in (Kind.EVENT, Kind.LABEL, Kind.DECISION, Kind.PENDING, Kind.IMPORT):
            raise ValueError(f"{kind.name} records have a method of their own")
        return self._append(kind, body, None).seq

    def decision_of(self, event_seq: int) -> Record | None:
        """The decision on an event, durable or staged."""
        staged = self._new_decisions.get(event_seq)
        if staged is not None:
            return staged
        seq = self._decision_seq(event_seq)
        if seq is None:
            return None
        return self._record(seq)

    def pending_of(self, event_seq: int) -> Record | None:
        """The record that says an event waits for the nightly batch, durable or staged; None where it does not."""
        staged = self._new_pending.get(event_seq)
        if staged is not None:
            return staged
        seq = self._pending_seq(event_seq)
        return None if seq is None else self._record(seq)

    def batch(self) -> Batch:
        """Hand over the events and labels staged since the last call, for the engine to observe. Each comes once."""
        return self._assembler.take()

    def commit(self) -> None:
        """Make everything staged durable. Returns after the fsync.

        Raises
        ------
        CommitFailedError
            If a group could not be written. It and all that was staged later are kept; the next commit writes it
            first, unchanged.
        """
        if self._open.records:
            self._sealed.append(self._open)
            self._open = Group()
        while self._sealed:
            group = self._sealed[0]
            try:
                write_groups(self._connection, self._erasable, [group])
            except sqlite3.Error as error:
                roll_back(self._connection)
                first, last = group.records[0][0], group.records[-1][0]
                raise CommitFailedError(self._path, first, last, str(error)) from error
            except BaseException:
                roll_back(self._connection)
                raise
            del self._sealed[0]
            self._on_commit()
        self._forget_staged()

    def seal(self) -> Group | None:
        """Close what was staged since the last group, for another thread to write; None where there is nothing.

        Groups are to be written in this order, and each is known here as staged until `settle` is told of it.
        """
        if not self._open.records:
            return None
        group, self._open = self._open, Group()
        self._sealed.append(group)
        return group

    def settle(self, group: Group) -> None:
        """Take note that the oldest sealed group is durable by another's hand; between two turns only."""
        if self._sealed[0] is not group:
            raise ValueError("groups become durable in the order in which they were sealed")
        del self._sealed[0]
        self._on_commit()
        if not (self._sealed or self._open.records):
            self._forget_staged()
            return
        # What outcomes wait for is forgotten with the last group: until then the tables only say the same again.
        self._foreseen.clear()
        for key, seq, _ in group.identity:
            self._new_identity.pop(key, None)
            self._new_events.pop(seq, None)
            self._new_values.pop(seq, None)
        for event_seq, _ in group.decisions:
            self._new_decisions.pop(event_seq, None)
        for event_seq, _ in group.pending:
            self._new_pending.pop(event_seq, None)
        for event_seq, _, _, _, label_seq in group.standing:
            if self._new_standing[event_seq].label_seq == label_seq:  # no later one has taken its place
                del self._new_standing[event_seq]

    def _forget_staged(self) -> None:
        """All is durable: the database knows."""
        self._new_identity.clear()
        self._new_events.clear()
        self._new_values.clear()
        self._new_decisions.clear()
        self._new_pending.clear()
        self._new_standing.clear()
        self._foreseen.clear()
        if self._outcomes is not None:
            self._outcomes.settle()

    def adopt(self, scenario: Scenario, segment_of: SegmentLookup) -> None:
        """Go on under another scenario of these records, that labels by the same outcome, while nothing is staged."""
        if self.n_staged:
            raise ValueError("records of the scenario from before are staged: commit them first")
        label = scenario.decided.label
        self._scenario, self._segment_of = scenario, segment_of
        self._precedence = Precedence(scenario.label_precedence)
        self._type_index = {event_type.name: event_type.index for event_type in scenario.event_types}
        self._legit_after_ms = label.legit_after_ms if label else None
        self._assembler = BatchAssembler(scenario)

    def close(self) -> None:
        """Release the files. What is staged and not committed is gone."""
        self._erasable.close()
        self._connection.close()

    def _append(self, kind: Kind, body: Body, time_ms: int | None, *, late: bool = False) -> Staged:
        recorded_at_ms = self._clock.now_ms()
        if time_ms is not None:
            self._watermark_ms = max(self._watermark_ms, min(time_ms, recorded_at_ms + FUTURE_TOLERANCE_MS))
        seq = self._last_seq + 1
        encoded = encode_body(body)
        self._chain = chain.link(self._chain, seq, kind, recorded_at_ms, self._watermark_ms, encoded)
        self._last_seq = seq
        self._open.records.append((seq, int(kind), recorded_at_ms, self._watermark_ms, encoded, self._chain))
        return Staged(seq=seq, recorded_at_ms=recorded_at_ms, watermark_ms=self._watermark_ms, late=late)

    def _append_body(self, kind: Kind, body: DecisionBody | PendingBody) -> Record:
        self._append(kind, body, None)
        seq, _, recorded_at_ms, watermark_ms, _, link = self._open.records[-1]
        return Record(
            seq=seq, kind=kind, recorded_at_ms=recorded_at_ms, watermark_ms=watermark_ms, body=body, chain=link
        )

    def _record(self, seq: int) -> Record:
        return record_of(self._connection.execute(f"{SELECT_RECORD} WHERE seq = ?", (seq,)).fetchone())

    def _pending_seq(self, event_seq: int) -> int | None:
        staged = self._new_pending.get(event_seq)
        if staged is not None:
            return staged.seq
        return pending_seq(self._connection, event_seq) if self._may_wait else None

    def _stage_label(self, event_seq: int, value: int, source: str, known_at_ms: int) -> Staged:
        event_type, event_time_ms, links = self._about(event_seq)
        stands, replaces = self._precedence.outcome(source, self._standing_of(event_seq))
        body = LabelBody(
            event_seq=event_seq,
            event_type=event_type,
            event_time_ms=event_time_ms,
            links=links,
            value=value,
            replaces=replaces,
            source=source,
            known_at_ms=known_at_ms,
            stands=stands,
        )
        staged = self._append(Kind.LABEL, body, known_at_ms)
        if stands:
            standing = Standing(value, source, known_at_ms, staged.seq)
            self._new_standing[event_seq] = standing
            self._open.standing.append((event_seq, *standing))
        values = None
        if self._scenario.segments and event_type == self._type_index[self._scenario.decide]:
            values = self._new_values.get(event_seq) or self._segment_of(event_seq)
        self._assembler.add_label(staged.seq, body, values)
        return staged

    def _about(self, event_seq: int) -> tuple[int, int, tuple[Link, ...]]:
        return self._new_events.get(event_seq) or self._lookup(event_seq)

    def _schedule(self, due_ms: int, event_seq: int) -> None:
        self._open.maturing.append((due_ms, event_seq))
        if self._next_due_ms is None or due_ms < self._next_due_ms:
            self._next_due_ms = due_ms

    def _identity_of(self, key: bytes) -> tuple[int, bytes] | None:
        staged = self._new_identity.get(key)
        if staged is not None:
            return staged
        if key in self._foreseen:
            return self._foreseen[key]
        query = "SELECT seq, payload_digest FROM identity WHERE key = ?"
        row: tuple[int, bytes] | None = self._connection.execute(query, (key,)).fetchone()
        return row

    def _decision_seq(self, event_seq: int) -> int | None:
        staged = self._new_decisions.get(event_seq)
        if staged is not None:
            return staged.seq
        if event_seq in self._new_events:
            return None  # the database knows neither the event nor a decision on it
        row = self._connection.execute("SELECT seq FROM decisions WHERE event_seq = ?", (event_seq,)).fetchone()
        return row[0] if row else None

    def _standing_of(self, event_seq: int) -> Standing | None:
        staged = self._new_standing.get(event_seq)
        if staged is not None:
            return staged
        query = "SELECT value, source, known_at_ms, label_seq FROM standing WHERE event_seq = ?"
        row = self._connection.execute(query, (event_seq,)).fetchone()
        return Standing(*row) if row else None
