# SPDX-License-Identifier: Apache-2.0
"""One turn of the engine thread: stage, observe, score, decide, commit. Nothing is answered before the commit."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.neighbourhoods import empty_samples
from ringfence.errors import RingfenceError
from ringfence.ledger.errors import CommitFailedError
from ringfence.ledger.records import DecisionBody, Kind, PendingBody, Record, TickBody
from ringfence.ledger.writer import Duplicate, Staged, Writer
from ringfence.models.gnn_inputs import Sampled, SampledArrays
from ringfence.models.packed import joined, one_of, pack, unpack
from ringfence.models.seen import Seen
from ringfence.scenario.batch import FRAUD, Batch
from ringfence.scenario.event import Admission, LabelNotice
from ringfence.scoring.route import Router
from ringfence.scoring.scorer import FULL, Scorer
from ringfence.serving import wire
from ringfence.serving.decided import decision_body, feature_digest, texts_of
from ringfence.serving.errors import HistoryEventError, LedgerUnavailableError, ServiceFaultError
from ringfence.serving.kept import Kept, KeptRows
from ringfence.serving.late_commits import LateCommits
from ringfence.serving.late_kept import LateKept
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.reviews import ReviewBudget
from ringfence.serving.rungs import Rungs
from ringfence.serving.telemetry import Telemetry
from ringfence.serving.trace import Call
from ringfence.serving.waiting import REVIEW, had_then, seen_together, stage_decisions

_log: Final = structlog.get_logger("ringfence.serving")
Rows = NDArray[np.float64]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force for a scenario: the champion's engine and scorer, and the versions written on decisions."""

    engine: Engine
    scorer: Scorer
    router: Router
    versions: dict[str, str]
    n_wrong_ticks: int = 0  # ticks on record that recovery could not compute again


class Settled(NamedTuple):
    """What became of a few events that waited."""

    actions: list[str]  # of those that were decided, in their order
    n_to_replay: int  # that go on waiting: what they had is not kept as the live release reads it
    release: str


class _Wanted:
    """An event to decide in this turn, and everybody who waits for it."""

    __slots__ = ("admission", "had", "near", "tickets", "was_kept")

    def __init__(self, admission: Admission, had: Kept | None, near: SampledArrays | None) -> None:
        self.admission = admission
        self.had = had  # None until the event is observed
        self.near = near  # its neighbourhood, where the release reads such
        self.was_kept = had is not None
        self.tickets: list[Ticket] = []


class Cycle:
    """Turns tickets into durable records and results.

    A turn is `take` and then `commit`; after a `CommitFailedError` only `commit` may be called, until it succeeds.
    """

    def __init__(
        self,
        scenario_name: str,
        decide: str,
        writer: Writer,
        live: Live,
        rungs: Rungs,
        kept: KeptRows,
        reviews: ReviewBudget,
        telemetry: Telemetry,
        *,
        row_sample: int,
        late: LateCommits | None = None,
    ) -> None:
        self._name, self._decide = scenario_name, decide
        self._writer, self._live, self._rungs, self._reviews = writer, live, rungs, reviews
        self._late = late
        self._kept: KeptRows | LateKept = kept if late is None else late.kept.over(kept)
        self._commit_seconds = telemetry.commit_seconds.labels(scenario_name)
        self._row_sample = row_sample
        self._decisions = telemetry.decisions
        self._neighbours = telemetry.neighbours.labels(scenario_name)
        self._masks: list[NDArray[np.bool_]] = []  # of this turn, not counted yet
        self._to_keep: list[tuple[int, bytes, Kept]] = []
        self._keeps_undecided = False  # whether some of these are needed to decide their event
        self.no_samples = nothing_of(live.engine.catalogue)
        self._to_forget: list[int] = []
        self.last_decided_seq = 0
        self.last_degraded_seq = 0  # of a decision of this process; read by the thread that looks at those again
        self.looked_at: deque[int] = deque()  # events that it is done with

    @property
    def live(self) -> Live:
        """What is in force."""
        return self._live

    def switch(self, live: Live, rungs: Rungs, kept: KeptRows, reviews: ReviewBudget) -> None:
        """Go on with another release, between two turns."""
        self._live, self._rungs, self._reviews = live, rungs, reviews
        self._kept = kept if self._late is None else self._late.kept.over(kept)
        self.no_samples = nothing_of(live.engine.catalogue)

    def in_turns(self, tickets: list[Ticket]) -> list[list[Ticket]]:
        """Split what was taken from the queue: decisions too urgent for the highest rung go first, in a turn of theirs.

        A turn is scored on one rung and answered at once, so that urgent ones would take everybody down with them, or
        would have to wait for everybody. Nobody is promised an order of requests that wait at the same time; those that
        share a turn keep theirs.
        """
        n = sum(ticket.ask is Ask.DECIDE for ticket in tickets)
        if n < 2:
            return [tickets]
        needed_by_ns = time.perf_counter_ns() + self._rungs.needed_ns(n)
        urgent = [ticket for ticket in tickets if ticket.ask is Ask.DECIDE and ticket.deadline_ns < needed_by_ns]
        if not urgent or len(urgent) == n:
            return [tickets]
        others = [ticket for ticket in tickets if ticket.ask is not Ask.DECIDE or ticket.deadline_ns >= needed_by_ns]
        return [urgent, others]

    def take(self, tickets: list[Ticket]) -> None:
        """Work a group of tickets up to the commit; results are on the tickets, not to be handed out yet.

        Raises
        ------
        Exception
            Only if the engine cannot observe: its state is then unknown and the process must recover by replay.
        """
        if tickets[0].ask is Ask.SWITCH:  # always alone: see `swap.parted`
            self._read(tickets[0])
            return
        began_ns = time.perf_counter_ns()
        if tickets[0].ask is Ask.DECIDE_WAITING:  # so are these
            self._guard(tickets[0], self._decide_waiting)
            tickets[0].queue_ns = began_ns - tickets[0].queued_at_ns
            tickets[0].score_ns = time.perf_counter_ns() - began_ns
            return
        for ticket in tickets:
            ticket.queue_ns = began_ns - ticket.queued_at_ns
            if ticket.ask is Ask.READ:  # before anything is staged: state between two turns
                self._guard(ticket, self._read)
        wanted: dict[int, _Wanted] = {}
        fresh: dict[int, Admission] = {}  # events of the decided type staged in this turn, in seq order
        late: set[int] = set()  # those of them that are older than the watermark by more than `max_lateness`
        with contextlib.suppress(sqlite3.Error):  # then each of them asks by itself, and is refused by itself
            self._writer.foresee([ticket.admission.event for ticket in tickets if ticket.admission is not None])
        for ticket in tickets:
            if ticket.ask is Ask.TELL:
                self._guard(ticket, self._tell)
            elif ticket.ask is Ask.RECORD:
                self._guard(ticket, self._record)
            elif ticket.ask is not Ask.READ:
                self._guard(ticket, lambda ticket: self._event(ticket, wanted, fresh, late))
        self._writer.mature()
        batch = self._writer.batch()
        rows, near = self._observe(batch)
        for effect in self._live.engine.take_effects():
            self._writer.stage(
                Kind.TICK,
                TickBody(
                    as_of_ms=effect.as_of_ms,
                    effect_seq=effect.effect_seq,
                    digest=effect.digest,
                    spec=self._live.versions["spec"],
                ),
            )
        observed_ns = time.perf_counter_ns()
        for at, ((seq, admission), row) in enumerate(zip(fresh.items(), rows, strict=True)):
            had = Kept(row, b"" if near is None else pack(near, at))
            if seq in wanted:
                wanted[seq].had, wanted[seq].near = had, None if near is None else one_of(near, at)
            else:
                self._keep_undecided(seq, admission.event.payload_digest, had)
        self._put_off(wanted, late)
        if wanted:
            self._decide_all(wanted, late, len(tickets))
        scored_ns = time.perf_counter_ns()
        for ticket in tickets:
            ticket.observe_ns, ticket.score_ns = observed_ns - began_ns, scored_ns - observed_ns

    def _observe(self, batch: Batch) -> tuple[Rows, Sampled | None]:
        if not len(batch):
            return np.empty((0, 0)), self.no_samples
        if self.no_samples is None:
            return self._live.engine.observe(batch), None
        return self._live.engine.observe_sampled(batch)

    def commit(self) -> None:
        """Make the turn durable.

        Raises
        ------
        CommitFailedError
            If ledger or kept rows could not be written; everything is kept for the next call.
        """
        began_ns = time.perf_counter_ns()
        try:
            self._put_kept()
        except sqlite3.Error as error:
            last_seq = self._writer.last_seq
            raise CommitFailedError(self._kept.path, last_seq, last_seq, str(error)) from error
        self._writer.commit()
        took_ns = time.perf_counter_ns() - began_ns
        self._rungs.committed(took_ns)
        self._commit_seconds.observe(took_ns / 1e9)

    def commit_late(self, late: LateCommits, tickets: list[Ticket]) -> None:
        """Have the turn made durable, as `LateCommits.commit` does it, and mark its results."""
        began_ns = time.perf_counter_ns()
        self._put_kept()
        late.commit(tickets)
        self._rungs.committed(time.perf_counter_ns() - began_ns)

    def _keep_undecided(self, seq: int, payload_digest: bytes, had: Kept) -> None:
        self._to_keep.append((seq, payload_digest, had))
        self._keeps_undecided = True

    def _put_kept(self) -> None:
        if self._to_keep:
            self._kept.put(self._to_keep, synced=self._keeps_undecided)
            self._to_keep.clear()
            self._keeps_undecided = False

    def tidy(self) -> None:
        """Do what answers need not wait for: write the log, and count."""
        self._rungs.tell()
        for mask in self._masks:
            for size in mask.sum(axis=(1, 2)).tolist():
                self._neighbours.observe(size)
        self._masks.clear()

    def forget(self) -> None:
        """Drop kept rows that nobody needs any more; answers need not wait for that either."""
        while self.looked_at:
            self._to_forget.append(self.looked_at.popleft())
        if self._to_forget:
            with contextlib.suppress(sqlite3.Error):  # a full disk: they cost only room
                self._kept.forget(self._to_forget)
            self._to_forget.clear()

    def _guard(self, ticket: Ticket, work: Any) -> None:
        try:
            work(ticket)
        except RingfenceError as error:
            ticket.result = error
        except Exception:
            _log.exception("request failed in the engine thread", ask=ticket.ask.name)
            ticket.result = ServiceFaultError()

    @staticmethod
    def _read(ticket: Ticket) -> None:
        assert ticket.read is not None
        ticket.result = ticket.read()

    def _record(self, ticket: Ticket) -> None:
        ticket.result = [self._writer.stage(kind, body) for kind, body in ticket.records][-1]

    def _decide_waiting(self, ticket: Ticket) -> None:
        """Decide events that wait, from what each had; in full, or none of them.

        Which they are was read from the ledger before: whatever is decided by now, durable or staged, is passed over.
        """
        if self._late is not None and self._late.is_late:  # what nobody waits for can wait until it is durable
            raise LedgerUnavailableError
        live = self._live
        left_over = [one for one in ticket.waiting if self._writer.decision_of(one.body.event_seq) is None]
        found = [(one, had_then(one, self._kept, self.no_samples, live.versions["spec"])) for one in left_over]
        waiting = [one for one, had in found if had is not None]
        had = [had for _, had in found if had is not None]
        ticket.result = Settled([], len(found) - len(had), live.versions["release"])
        if not waiting:
            return
        left = self._reviews.left()
        answers = self._rungs.in_full(
            seen_together(live.scorer.release.scenario, waiting, had),
            [one.event.amount_minor for one in waiting],
            reviews_left=left,
        )
        seqs = stage_decisions(
            self._writer,
            waiting,
            had,
            answers,
            left=left,
            reviews=self._reviews,
            versions=live.versions,
            row_sample=self._row_sample,
        )
        self.last_decided_seq = seqs[-1]
        for answer in answers:
            self._decisions.inc((self._name, answer.action, answer.rung, live.versions["release"]))
        self._to_forget += [one.body.event_seq for one, (_, packed, _) in zip(waiting, had, strict=True) if packed]
        ticket.result = ticket.result._replace(actions=[answer.action for answer in answers])

    def _tell(self, ticket: Ticket) -> None:
        notice: LabelNotice | None = ticket.notice
        assert notice is not None
        standing = self._writer.standing_label(notice)
        # The same word from the same source says nothing new: most likely a retry whose first answer got lost.
        ticket.repeated = standing is not None and (standing.source, standing.value) == (notice.source, notice.value)
        seq = standing.label_seq if standing is not None and ticket.repeated else self._writer.stage_label(notice).seq
        standing = self._writer.standing_label(notice)
        stands = standing is not None and standing.label_seq == seq
        ticket.result = wire.LabelAnswer(
            event_id=notice.event_id,
            event_type=notice.event_type,
            label="fraud" if notice.value == FRAUD else "legit",
            source=notice.source,
            known_at=wire.iso(standing.known_at_ms) if standing is not None and stands else None,
            stands=stands,
            seq=seq,
        )

    def _event(self, ticket: Ticket, wanted: dict[int, _Wanted], fresh: dict[int, Admission], late: set[int]) -> None:
        admission = ticket.admission
        assert admission is not None
        event = admission.event
        staged = self._writer.stage_event(admission)
        seq = staged.seq
        is_new = not isinstance(staged, Duplicate)
        ticket.repeated = not is_new
        if is_new and event.event_type == self._decide:
            fresh[seq] = admission
        if isinstance(staged, Staged) and staged.late:
            late.add(seq)
        if ticket.ask is Ask.LEARN:
            ticket.result = wire.EventAnswer(event_id=event.event_id, event_type=event.event_type, seq=seq)
            return
        if isinstance(staged, Duplicate) and staged.decision is not None:
            ticket.result = answer_of(staged.decision)
            return
        if not is_new and (waits := self._writer.pending_of(seq)) is not None:
            ticket.result = pending_answer_of(waits)
            return
        if seq not in wanted:
            had, near = None, None
            if seq not in fresh:
                had = self._kept.get(seq, event.payload_digest)
                if had is not None and self.no_samples is not None:
                    near = unpack(had.near, self.no_samples)
                if had is None or (near is None and self.no_samples is not None):
                    raise HistoryEventError(event.event_id, seq)
            ticket.repeated = False
            wanted[seq] = _Wanted(admission, had, near)
        wanted[seq].tickets.append(ticket)

    def _put_off(self, wanted: dict[int, _Wanted], late: set[int]) -> None:
        """Record which events the policy leaves to the nightly batch, and take them out of `wanted`."""
        if not (self._live.router.has_batch and wanted):
            return
        had = {seq: entry.had for seq, entry in wanted.items() if entry.had is not None}
        waits = self._live.router.waits(np.stack([one.row for one in had.values()]))
        for seq in [seq for seq, one in zip(had, waits.tolist(), strict=True) if one]:
            entry, (row, packed) = wanted.pop(seq), had[seq]
            event = entry.admission.event
            record = self._writer.stage_pending(
                PendingBody(
                    event_seq=seq,
                    event_id=event.event_id,
                    event_type=event.event_type,
                    versions=self._live.versions,
                    late=seq in late,
                    feature_digest=feature_digest(row, packed),
                    row=row.tobytes(),
                )
            )
            if packed and not entry.was_kept:  # the ledger has the row; a neighbourhood is kept beside it
                self._keep_undecided(seq, event.payload_digest, Kept(row, packed))
            elif entry.was_kept and not packed:
                self._to_forget.append(seq)
            for ticket in entry.tickets:
                ticket.result = pending_answer_of(record)

    def _decide_all(self, wanted: dict[int, _Wanted], late: set[int], batch_size: int) -> None:
        entries = list(wanted.items())
        had = [entry.had for _, entry in entries if entry.had is not None]
        near = [entry.near for _, entry in entries if entry.near is not None]
        seen = Seen(np.stack([one.row for one in had]), joined(near) if near else None)
        if seen.neighbourhoods is not None:
            self._masks.append(seen.neighbourhoods.mask)
        amounts = [entry.admission.event.amount_minor for _, entry in entries]
        reviews_left = self._reviews.left()
        scenario = self._live.scorer.release.scenario
        texts = texts_of(scenario, [entry.admission.event.attributes for _, entry in entries])
        tickets = [ticket for _, entry in entries for ticket in entry.tickets]
        traced = [ticket for ticket in tickets if ticket.trace is not None and ticket.trace.is_sampled]
        calls: list[Call] | None = [] if traced else None
        answers = self._rungs.answer(
            seen._replace(texts=texts),
            amounts,
            reviews_left=reviews_left,
            deadline_ns=min(ticket.deadline_ns for ticket in tickets),
            calls=calls,
        )
        for ticket in traced:
            ticket.calls = calls
        for (seq, entry), (row, packed), answer in zip(entries, had, answers, strict=True):
            event = entry.admission.event
            self._writer.stage_decision(
                decision_body(
                    answer,
                    seq,
                    event,
                    row,
                    packed,
                    versions=self._live.versions,
                    circumstances={
                        "reviews_left": self._reviews.left(),
                        "batch_size": batch_size,
                        **({"late": True} if seq in late else {}),
                    },
                    row_sample=self._row_sample,
                )
            )
            self._decisions.inc((self._name, answer.action, answer.rung, self._live.versions["release"]))
            if answer.action == REVIEW:
                self._reviews.spend()
            if answer.rung != FULL and near:  # a second look needs what only the event's moment had
                self._to_keep.append((seq, event.payload_digest, Kept(row, packed)))
            elif entry.was_kept:
                self._to_forget.append(seq)
            record = self._writer.decision_of(seq)
            assert record is not None
            self.last_decided_seq = record.seq
            if "degraded" in answer.circumstances:
                self.last_degraded_seq = record.seq
            result = answer_of(record)
            for ticket in entry.tickets:
                ticket.result = result


def nothing_of(catalogue: Catalogue) -> SampledArrays | None:
    """Return the neighbourhoods of no event; None where none are sampled."""
    if catalogue.neighbourhoods is None:
        return None
    found = empty_samples(catalogue.plan, 0)
    return SampledArrays(found.events, found.mask, found.nodes)


def answer_of(record: Record) -> wire.DecisionAnswer:
    """What a client is told about a decision record; equal records give equal bytes."""
    body = record.body
    assert isinstance(body, DecisionBody)
    circumstances = dict(body.circumstances)
    return wire.DecisionAnswer(
        decision_id=f"d-{record.seq}",
        event_id=body.event_id,
        event_type=body.event_type,
        event_seq=body.event_seq,
        seq=record.seq,
        action=body.action,
        score=body.score,
        reasons=[
            wire.AnswerReason(code=reason.code, sentence=reason.sentence, contribution=reason.contribution)
            for reason in body.reasons
        ],
        rung=str(circumstances.pop("rung", "full")),
        degraded=bool(circumstances.get("degraded", False)),
        durable=True,
        members=body.members,
        versions=body.versions,
        circumstances=circumstances,
        propensity=body.propensity,
    )


def pending_answer_of(record: Record) -> wire.PendingAnswer:
    """What a client is told about an event that waits for the nightly batch; equal records give equal bytes."""
    body = record.body
    assert isinstance(body, PendingBody)
    return wire.PendingAnswer(
        event_id=body.event_id, event_type=body.event_type, event_seq=body.event_seq, seq=record.seq
    )
