# SPDX-License-Identifier: Apache-2.0
"""Start-up is recovery: the champion, the newest valid snapshot, the replay of what came after it, the warm-up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from ringfence import __version__
from ringfence.engine.engine import Engine
from ringfence.engine.errors import SnapshotError
from ringfence.engine.replay import replay
from ringfence.engine.snapshot import restore_newest
from ringfence.engine.ticks import wrong_ticks
from ringfence.ledger.ledger import Ledger
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry
from ringfence.scenario.calendar import local_offset_ms_at
from ringfence.scenario.payload import PayloadDigest
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.route import Router
from ringfence.scoring.scorer import Scorer
from ringfence.serving.cycle import Live
from ringfence.serving.errors import NoChampionError

_log: Final = structlog.get_logger("ringfence.serving")
_WARM_RECORDS: Final = 256


def champion_of(ledger: Ledger, releases_dir: Path) -> Release:
    """Load the release that is live, without branches whose files are broken: a lower rung answers then.

    Raises
    ------
    NoChampionError
        If no release was ever promoted.
    """
    name = Registry.read(ledger).champion()
    if name is None:
        raise NoChampionError(ledger.scenario.name)

    def broken(error: ReleaseDamagedError) -> None:
        _log.error(
            "a branch of the release is broken, a lower rung answers", scenario=ledger.scenario.name, cause=str(error)
        )

    return load_release(releases_dir / name, without=broken)


def recover(
    ledger: Ledger, release: Release, state_dir: Path, progress: Callable[[int, int], None] | None = None
) -> Live:
    """Rebuild the engine's state up to the ledger's end and load the champion's models.

    A damaged or foreign snapshot is refused by the engine and an older one, or the whole ledger, takes its place. Ticks
    on record are held against those of the replay; a difference is logged and counted, and stops nothing.
    """
    catalogue = release.catalogue

    def refused(error: SnapshotError) -> None:
        _log.warning("snapshot refused", scenario=ledger.scenario.name, cause=str(error))

    engine = restore_newest(catalogue, state_dir, last_seq=ledger.last_seq, refused=refused)
    restored_seq = 0 if engine is None else engine.seq
    engine = engine or Engine(catalogue)
    until_seq = ledger.last_seq
    replay(
        engine,
        ledger.batches(after_seq=restored_seq, until_seq=until_seq),
        from_seq=restored_seq,
        until_seq=until_seq,
        progress=progress,
    )
    wrong = wrong_ticks(ledger.ticks(catalogue.spec_hash, restored_seq), engine.take_effects())
    for error in wrong:
        _log.error("tick differs from its record", scenario=ledger.scenario.name, cause=str(error))
    compute_beside(engine, ledger.scenario.name)
    _log.info("state recovered", scenario=ledger.scenario.name, snapshot_seq=restored_seq, ledger_seq=until_seq)
    return Live(
        engine=engine,
        scorer=Scorer(release),
        router=Router(release.policy, release.catalogue),
        versions=versions_of(release),
        n_wrong_ticks=len(wrong),
    )


def compute_beside(engine: Engine, scenario: str) -> None:
    """Have an engine's ticks computed by a thread of their own, beside the service and not in its way."""
    ticks = ThreadPoolExecutor(1, thread_name_prefix=f"ticks-{scenario}")
    engine.compute_ticks_by(lambda work: ticks.submit(work).result)


def versions_of(release: Release) -> dict[str, str]:
    """Return the versions that a decision of a release is recorded with."""
    return {
        "release": release.id,
        "spec": release.catalogue.spec_hash,
        "policy": release.policy.version,
        "ringfence": __version__,
    }


def warm_up(ledger: Ledger, live: Live) -> None:
    """Run everything compiled once on an engine that is thrown away; the first call of a kernel takes a second."""
    catalogue = live.engine.catalogue
    scratch = Engine(catalogue)
    seen = Seen(np.full((0, len(catalogue.names)), np.nan))
    for batch in ledger.batches(until_seq=_WARM_RECORDS, size=_WARM_RECORDS):
        found = (
            Seen(scratch.observe(batch)) if catalogue.neighbourhoods is None else Seen(*scratch.observe_sampled(batch))
        )
        seen = found if found.n else seen
    scratch.rehearse_tick()
    local_offset_ms_at(ledger.scenario.time_zone, ledger.watermark_ms)  # the door's table of offsets
    PayloadDigest().digest()  # and its kernel
    live.scorer.warm_up()
    seen = seen._replace(texts=live.scorer.blank(seen.rows).texts)
    for n in {1, seen.n} if seen.n else ():
        live.scorer.answer(seen.part(slice(0, n)), [None] * n, reviews_left=None)
