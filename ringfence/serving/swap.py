# SPDX-License-Identifier: Apache-2.0
"""Another release while the service runs: made ready beside the old one, put in its place between two turns.

    a thread of the switch     prepare, build, catch up ─┐                        ┌─ keep the old one ready, for a while
    the event loop                                       └─ new door, SWITCH ─┐   │
    the engine's thread        turn · turn · turn · turn · turn · turn · turn │ · switch · turn · turn
                               old door, old release -------------------------┘          new door, new release

What was let in by the old door stands before the switch in the queue and is decided by the old release; nobody waits.
The release record is staged by the switch itself: it has the seq from which on the new release decides.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import replace

from ringfence.errors import RingfenceError
from ringfence.ledger.writer import Writer
from ringfence.rollout.errors import AlreadyChampionError
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import Clock
from ringfence.scenario.door import Door
from ringfence.scoring.errors import ReleaseDamagedError, ReleaseError
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.route import Router
from ringfence.scoring.scorer import Scorer
from ringfence.serving import wire
from ringfence.serving.build import StoppedError, build_engine, follow, keep_snapshot
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import Cycle, Live
from ringfence.serving.errors import NotReadyError, OutcomeUnknownError, ReleaseRefusedError, SwitchRunningError
from ringfence.serving.kept import KeptRows
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.ready import Ready, ledger_for
from ringfence.serving.recovery import compute_beside, versions_of, warm_up
from ringfence.serving.reviews import ReviewBudget
from ringfence.serving.rungs import Rungs
from ringfence.serving.shadow_told import shadow_of
from ringfence.serving.telemetry import Telemetry

_log: Final = structlog.get_logger("ringfence.serving")

PROMOTE: Final = "promote"
ROLLBACK: Final = "rollback"
PREPARING: Final = "preparing"
BUILDING: Final = "building"
CATCHING_UP: Final = "catching up"
SWITCHING: Final = "switching"
DONE: Final = "done"
FAILED: Final = "failed"
STEPS: Final = (PREPARING, BUILDING, CATCHING_UP, SWITCHING, DONE, FAILED)
MOST_BEHIND: Final = 64  # records that the engine's thread may have left to fold when a switch is put into the queue
MOST_WAITING: Final = 64  # requests that may stand before it there
_AGAIN_S: Final = 0.01  # before a switch that found the queue too long is offered again
_POLL_S: Final = 0.05  # between two looks at the ledger for a state that is kept ready
_ENDS_S: Final = 5.0

Enter = Callable[[Ready, Callable[[], object]], object]


def parted(tickets: list[Ticket]) -> list[list[Ticket]]:
    """Part what was taken from the queue before and after each switch, which stands alone.

    So does what decides events that wait, and comes last, whatever stood behind it: nobody waits for that.
    """
    parts: list[list[Ticket]] = [[]]
    last: list[list[Ticket]] = []
    for ticket in tickets:
        if ticket.ask is Ask.SWITCH:
            parts += [[ticket], []]
        elif ticket.ask is Ask.DECIDE_WAITING:
            last.append([ticket])
        else:
            parts[-1].append(ticket)
    return [part for part in (*parts, *last) if part]


class _Switch:
    """One promotion or rollback, from its request to its end."""

    def __init__(self, number: int, act: str, release: str, replaces: str, note: str, by: str) -> None:
        self.number, self.act, self.release, self.replaces = number, act, release, replaces
        self.note, self.by = note, by
        self.step = PREPARING
        self.records_left: int | None = None
        self.seq: int | None = None
        self.stall_ms: float | None = None
        self.failure: str | None = None

    def tell_left(self, n: int) -> None:
        self.records_left = n

    @property
    def runs(self) -> bool:
        return self.step not in (DONE, FAILED)

    def status(self) -> wire.SwitchStatus:
        return wire.SwitchStatus(
            number=self.number,
            act=self.act,
            release=self.release,
            replaces=self.replaces,
            step=self.step,
            records_left=self.records_left if self.step in (BUILDING, CATCHING_UP) else None,
            seq=self.seq,
            stall_ms=self.stall_ms,
            failure=self.failure,
        )


class Swap:
    """Changes the release of one running service. One change at a time; a failed one changes nothing.

    Parameters
    ----------
    enter : puts a switch into the queue, and lets what comes after it in by the new release's door. Returns None where
        the queue is too long for that at the moment, otherwise what the switch came to, once it is durable.
    in_force : told, by the engine's thread, what is in force from now on.
    """

    def __init__(
        self,
        name: str,
        state_dir: Path,
        clock: Clock,
        config: ServiceConfig,
        telemetry: Telemetry,
        *,
        enter: Enter,
        in_force: Callable[[Ready], None],
    ) -> None:
        self._name, self._state_dir, self._clock = name, state_dir, clock
        self._config, self._telemetry = config, telemetry
        self._enter, self._in_force = enter, in_force
        self._asking = threading.Lock()
        self._current: Ready | None = None
        self._cycle: Cycle | None = None
        self._writer: Writer | None = None
        self._switch: _Switch | None = None
        self._kept_ready: Ready | None = None
        self._ended = threading.Event()
        self._wanted = threading.Event()  # a switch begins: whoever keeps a state up to date lets go of it
        self._thread: threading.Thread | None = None

    def begin(self, ready: Ready, cycle: Cycle, writer: Writer) -> None:
        """Say what is in force when the service begins to decide; by the engine's thread."""
        self._current, self._cycle, self._writer = ready, cycle, writer

    def close(self) -> None:
        """Give up whatever is being built, and close what is in force or kept ready; by the engine's thread."""
        self._ended.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_ENDS_S)
        for ready in (self._current, self._kept_ready):
            if ready is not None:
                ready.close()

    def promote(self, release: str, *, note: str, by: str) -> wire.SwitchStatus:
        """Begin to make a release the champion; returns as soon as its files are found whole. Any thread may call it.

        Parameters
        ----------
        release : an id, or `latest`: the one registered last. One that lies in the releases' folder and that this
            ledger does not know yet is registered by the switch.

        Raises
        ------
        NotReadyError, SwitchRunningError, UnknownReleaseError, AlreadyChampionError, ReleaseRefusedError
            Nothing was changed.
        """

        def chosen(registry: Registry) -> str:
            name = registry.named(release, self.current.release.path.parent)
            if name == registry.champion():
                raise AlreadyChampionError(name)
            return name

        return self._begin(PROMOTE, chosen, note, by)

    def rollback(self, *, note: str, by: str) -> wire.SwitchStatus:
        """Begin to make the previous champion the champion again.

        Raises
        ------
        NotReadyError, SwitchRunningError, NothingToRollBackError, ReleaseRefusedError
            Nothing was changed.
        """
        return self._begin(ROLLBACK, lambda registry: registry.rolls_back()[1], note, by)

    def status(self) -> wire.ReleasesAnswer:
        """Say what is live, what was, and what is on its way."""
        current, kept = self.current, self._kept_ready
        entries = Registry.read(current.ledger).entries()
        return wire.ReleasesAnswer(
            champion=current.release.id,
            kept_ready=None if kept is None else kept.release.id,
            switch=None if self._switch is None else self._switch.status(),
            shadow=shadow_of(current.ledger, self._state_dir),
            releases=[
                wire.ReleaseEntry(
                    release=entry.release,
                    registered_at=wire.iso(entry.registered_at_ms),
                    champion=entry.is_champion,
                    was_champion=entry.was_champion,
                    shadow=entry.is_shadow,
                    note=entry.note,
                    by=entry.by,
                )
                for entry in entries
            ],
        )

    @property
    def current(self) -> Ready:
        """What decides.

        Raises
        ------
        NotReadyError
            If nothing does yet.
        """
        if self._current is None:
            raise NotReadyError("not deciding yet")
        return self._current

    def _begin(self, act: str, choose: Callable[[Registry], str], note: str, by: str) -> wire.SwitchStatus:
        with self._asking:
            current = self.current
            if self._switch is not None and self._switch.runs:
                raise SwitchRunningError(self._switch.release, self._switch.step)
            name = choose(Registry.read(current.ledger))
            release = self._loaded(current, name, whole=act == PROMOTE)
            self._let_go()
            number = 1 if self._switch is None else self._switch.number + 1
            switch = self._switch = _Switch(number, act, name, current.release.id, note, by)
            self._at(switch, PREPARING)
            self._thread = threading.Thread(
                target=self._make, args=(switch, current, release), name=f"switch-{self._name}", daemon=True
            )
            self._thread.start()
            return switch.status()

    def _let_go(self) -> None:
        """Have the thread of the last switch stop to keep the release from before up to date; it stays as it is."""
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        self._wanted.clear()

    def _loaded(self, current: Ready, name: str, *, whole: bool) -> Release:
        """Load a release that the service can go on with; whole, or as a start-up takes it: without broken branches."""
        if (kept := self._kept_ready) is not None and kept.release.id == name:
            return kept.release

        def broken(error: ReleaseDamagedError) -> None:
            _log.error("a branch of the release is broken, a lower rung answers", scenario=self._name, cause=str(error))

        try:
            release = load_release(current.release.path.parent / name, without=None if whole else broken)
        except ReleaseError as error:
            raise ReleaseRefusedError(name, str(error), "mend that, and promote it again") from error
        ledger_for(current, release)
        return release

    def _make(self, switch: _Switch, current: Ready, release: Release) -> None:
        ready: Ready | None = None
        try:
            ready = self._prepared(switch, current, release)
            while True:
                if not ready.shares_state_with(current):
                    self._at(switch, CATCHING_UP)
                    follow(
                        ready.live.engine,
                        ready.ledger,
                        ready.kept,
                        near=MOST_BEHIND,
                        left=switch.tell_left,
                        ended=self._ended.is_set,
                    )
                self._at(switch, SWITCHING)
                took = self._enter(ready, self._switching(switch, ready))
                if isinstance(took, RingfenceError) and not isinstance(took, OutcomeUnknownError):
                    raise took
                if took is not None:
                    break
                if self._ended.wait(_AGAIN_S):
                    raise StoppedError
        except Exception as error:
            switch.failure = str(error) or type(error).__name__
            if ready is not None and switch.step != SWITCHING:  # from then on the engine's thread may have it
                ready.close()
            self._at(switch, FAILED)
            expected = isinstance(error, RingfenceError)
            _log.error(
                "the release does not become the champion; the one from before goes on",
                scenario=self._name,
                release=switch.release,
                champion=current.release.id,
                cause=switch.failure,
                exc_info=None if expected else error,
            )
            return
        self._at(switch, DONE)
        _log.info(
            "release switched",
            scenario=self._name,
            act=switch.act,
            release=switch.release,
            replaces=switch.replaces,
            by=switch.by,
            seq=switch.seq,
            stall_ms=switch.stall_ms,
        )
        with contextlib.suppress(OSError):  # a full disk: a start replays more then
            keep_snapshot(self._state_dir)
        self._keep(current, ready)

    def _prepared(self, switch: _Switch, current: Ready, release: Release) -> Ready:
        """Make a release ready, its state as far as a snapshot or a replay goes."""
        kept, self._kept_ready = self._kept_ready, None
        if kept is not None and kept.release.id == release.id:
            return replace(kept, reviews=self._reviews(current, release))
        if kept is not None:
            kept.close()
            del kept  # two states at once, never three
        ledger, catalogue = ledger_for(current, release), release.catalogue
        with contextlib.ExitStack() as undo:
            rows = KeptRows(self._state_dir, catalogue.spec_hash, len(catalogue.names))
            undo.callback(rows.close)
            if catalogue.spec_hash == current.release.catalogue.spec_hash:
                engine = current.live.engine
            else:
                self._at(switch, BUILDING)
                engine = build_engine(
                    ledger,
                    catalogue,
                    release.path,
                    self._state_dir,
                    rows,
                    beside_from=self._config.build_beside,
                    left=switch.tell_left,
                    ended=self._ended.is_set,
                )
                compute_beside(engine, self._name)
            live = Live(
                engine=engine,
                scorer=Scorer(release),
                router=Router(release.policy, release.catalogue),
                versions=versions_of(release),
            )
            warm_up(ledger, live)
            rungs = Rungs(self._name, live.scorer, self._config, self._telemetry)
            undo.callback(rungs.close)
            rungs.rehearse()
            rungs.ladder.commit = current.rungs.ladder.commit  # the disk is the same
            ready = Ready(
                release=release,
                ledger=ledger,
                door=Door(release.scenario, ledger.identity, release.lookups()),
                live=live,
                rungs=rungs,
                kept=rows,
                reviews=self._reviews(current, release),
            )
            undo.pop_all()
        return ready

    def _reviews(self, current: Ready, release: Release) -> ReviewBudget:
        reviews = ReviewBudget(release.policy.reviews_per_day, release.scenario.time_zone, self._clock)
        if not reviews.counts_like(current.reviews):
            reviews.recover(current.ledger)
        return reviews

    def _switching(self, switch: _Switch, ready: Ready) -> Callable[[], object]:
        """Return what the engine's thread does between two turns; the commit comes after it."""

        def work() -> object:
            current, cycle, writer = self._current, self._cycle, self._writer
            assert current is not None
            assert cycle is not None
            assert writer is not None
            began = time.perf_counter()
            if not ready.shares_state_with(current):
                ready.catch_up()
                ready.live.engine.take_effects()  # ticks on record are those of the live spec
            ready.reviews.go_on_from(current.reviews, current.ledger)
            if ready.release.scenario != current.release.scenario:
                ready.ledger.hand_over(writer)
            registry = Registry.read(current.ledger)
            if switch.act == ROLLBACK:
                registry.rollback(writer, note=switch.note, by=switch.by)
            else:
                registry.install(writer, switch.release, digest=ready.release.digest, note=switch.note, by=switch.by)
            switch.seq = writer.last_seq
            cycle.switch(ready.live, ready.rungs, ready.kept, ready.reviews)
            self._current = ready
            self._in_force(ready)
            switch.stall_ms = (time.perf_counter() - began) * 1e3
            return True

        return work

    def _keep(self, old: Ready, new: Ready) -> None:
        """Keep the release from before ready for a rollback: for a while, or until another switch begins."""
        self._kept_ready = old
        until = time.monotonic() + self._config.warm_s
        try:
            while not self._wanted.wait(_POLL_S) and time.monotonic() < until:
                if not old.shares_state_with(new):
                    follow(
                        old.live.engine,
                        old.ledger,
                        old.kept,
                        near=MOST_BEHIND,
                        left=lambda n: None,
                        ended=self._wanted.is_set,
                    )
        except StoppedError:
            pass
        except Exception:
            _log.exception("the release from before is not kept ready", scenario=self._name, release=old.release.id)
            until = 0.0
        if not self._wanted.is_set() and time.monotonic() >= until:
            self._kept_ready = None
            old.close()

    def _at(self, switch: _Switch, step: str) -> None:
        switch.step = step
        for known in STEPS:
            self._telemetry.release_step.labels(self._name, known).set(known == step)
        if not switch.runs:
            self._telemetry.release_switches.labels(self._name, step).inc()
        if step == DONE and switch.stall_ms is not None:
            self._telemetry.release_switch_seconds.labels(self._name).observe(switch.stall_ms / 1e3)
