# SPDX-License-Identifier: Apache-2.0
"""In a world whose truth is known: how soon is a ring found, how many are, and who else would have found them?

ring        e1 ···· e2 ·· e3 ····· e4
found                      ▲ the first of its events among its day's highest scores
third event                e3: from here on a ring could be seen
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Branch
from ringfence.models.branches import RULES
from ringfence.models.rules import RulesModel
from ringfence.scenario.batch import FRAUD
from ringfence.scoring.release import Release
from ringfence.training.errors import TruthFileError
from ringfence.training.evaluation import DAY_MS
from ringfence.training.ranking import Interval
from ringfence.training.slices import wilson

IntArray = NDArray[np.int64]

WITHIN_DAYS: Final = (0, 1, 7, 30, 90)
ALERTS_PER_DAY: Final = 10  # where the policy has no capacity
RING: Final = "ring_id"


class RingFound(msgspec.Struct, frozen=True, kw_only=True):
    """One ring, from the cut on."""

    ring: str
    n_events: int  # after the cut
    n_before: int  # of its events before the cut, which nobody scored here
    n_alerted: int  # of those after the cut
    first_ms: int  # its first event after the cut
    last_ms: int
    third_ms: int | None  # its third event of all; None where it has fewer, or had it before the cut
    found_ms: int | None  # its first alerted event
    label_ms: int | None  # when the first label called one of its events fraud, before or after the cut
    by_rule: bool | None  # rules spoke for fraud at one of its events after the cut; None: the release has none

    @property
    def days_to_detection(self) -> float | None:
        return None if self.found_ms is None else (self.found_ms - self.first_ms) / DAY_MS

    @property
    def is_ahead_of_labels(self) -> bool:
        """Found before any label said that it exists."""
        return self.found_ms is not None and (self.label_ms is None or self.found_ms < self.label_ms)


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rings that had so many days after their third event, the share that was found by then."""

    days: int
    n: int
    share: Interval  # Wilson


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """How rings were found by a release, each day's highest scores being opened."""

    alerts_per_day: int
    from_ms: int
    to_ms: int
    n_events: int
    rings: list[RingFound]  # with an event after the cut, in the order of these
    within: list[Within]
    median_days: float | None  # from a ring's first event after the cut until it was found; of those found

    @property
    def found(self) -> list[RingFound]:
        return [ring for ring in self.rings if ring.found_ms is not None]


def read_truth(truth: pl.DataFrame, event_id: str | None, where: str) -> pl.DataFrame:
    """Take from a truth file which event belongs to which ring: columns event_id, ring_id, one row per ring event.

    Parameters
    ----------
    truth : a row per event; `event_id`, or the column that the scenario reads it from, and `ring_id`, null where the
        event belongs to none. With a column `fraud`, only events where it is true count.
    event_id : that column.

    Raises
    ------
    TruthFileError
        If a column is missing, or no event belongs to a ring.
    """
    named = next((name for name in ("event_id", event_id) if name is not None and name in truth.columns), None)
    missing = [name for name, there in (("event_id", named is not None), (RING, RING in truth.columns)) if not there]
    if missing or named is None:
        raise TruthFileError(where, f"it has no column {' and none '.join(missing)}", "a row per event, with both")
    rows = truth.filter(pl.col(RING).is_not_null())
    if "fraud" in truth.columns:
        rows = rows.filter(pl.col("fraud").cast(pl.Boolean))
    if not rows.height:
        raise TruthFileError(where, f"no event has a {RING}", "a world with rings")
    return rows.select(event_id=pl.col(named).cast(pl.String), ring_id=pl.col(RING).cast(pl.String))


def detect(scored: pl.DataFrame, ledger: Ledger, release: Release, truth: pl.DataFrame) -> Detection:
    """Follow every ring that acts after the cut.

    Parameters
    ----------
    scored : all decided events after the cut, as `training.score.score` returns them.
    truth : as `read_truth` returns it.
    """
    made, capacity = release.manifest.made, release.policy.reviews_per_day
    alerts = int(capacity) if capacity is not None and capacity >= 1 else ALERTS_PER_DAY
    time_ms = scored["event_time"].dt.epoch("ms")
    alerted = alerted_of(time_ms.to_numpy(), scored["score"].to_numpy(), alerts)
    later = scored.select(
        "event_id",
        time_ms=time_ms,
        alerted=pl.Series(alerted),
        fired=fired(scored, release.ensemble.branches.get(RULES)),
    )
    before = ledger.events(-(2**62), made.until_ms + 1, ledger.last_seq).select("event_id", "seq", "event_time_ms")
    labelled = ledger.labels(ledger.last_seq).filter(pl.col("value") == FRAUD)
    told = (
        ledger.events(-(2**62), None, ledger.last_seq)
        .join(labelled, left_on="seq", right_on="event_seq", how="inner")
        .select("event_id", "known_at_ms")
    )
    rings = []
    for (ring,), events in truth.group_by([RING], maintain_order=True):
        mine = later.join(events, on="event_id", how="semi").sort("time_ms", maintain_order=True)
        if not mine.height:
            continue
        earlier = before.join(events, on="event_id", how="semi")
        known = told.join(events, on="event_id", how="semi")["known_at_ms"].min()
        opened = mine.filter("alerted")
        to_third = 2 - earlier.height
        rings.append(
            RingFound(
                ring=str(ring),
                n_events=mine.height,
                n_before=earlier.height,
                n_alerted=opened.height,
                first_ms=int(mine["time_ms"][0]),
                last_ms=int(mine["time_ms"][-1]),
                third_ms=int(mine["time_ms"][to_third]) if 0 <= to_third < mine.height else None,
                found_ms=int(opened["time_ms"][0]) if opened.height else None,
                label_ms=known if isinstance(known, int) else None,
                by_rule=mine["fired"].any() if mine["fired"].null_count() == 0 else None,
            )
        )
    rings.sort(key=lambda ring: (ring.first_ms, ring.ring))
    to_ms = int(time_ms.to_numpy().max())
    days = [ring.days_to_detection for ring in rings]
    known_days = [one for one in days if one is not None]
    return Detection(
        alerts_per_day=alerts,
        from_ms=made.until_ms,
        to_ms=to_ms,
        n_events=scored.height,
        rings=rings,
        within=[_within(rings, wanted, to_ms) for wanted in WITHIN_DAYS],
        median_days=float(np.median(known_days)) if known_days else None,
    )


def alerted_of(time_ms: IntArray, score: NDArray[np.float64], alerts_per_day: int) -> NDArray[np.bool_]:
    """Tell which events are among the highest scores of their UTC day, shape (n,); the earlier of a tie comes first."""
    day = time_ms // DAY_MS
    order = np.lexsort((time_ms, -score, day))
    first = np.searchsorted(day[order], day[order], side="left")
    found = np.zeros(day.shape[0], np.bool_)
    found[order] = np.arange(day.shape[0]) - first < alerts_per_day
    return found


def fired(scored: pl.DataFrame, rules: Branch | None) -> pl.Series:
    """Tell at which events the rules that hold speak for fraud, in sum; null where there are no rules, shape (n,).

    Parameters
    ----------
    scored : with the rules' own probability as the column `rules`.
    rules : that branch of the release.
    """
    if not isinstance(rules, RulesModel) or RULES not in scored.columns:
        return pl.Series([None] * scored.height, dtype=pl.Boolean)
    silent = float(rules.probability(rules.log_odds(np.zeros(1)))[0])
    return scored[RULES] > silent + 1e-9


def _within(rings: list[RingFound], days: int, to_ms: int) -> Within:
    ends = [(ring.found_ms, ring.third_ms + days * DAY_MS) for ring in rings if ring.third_ms is not None]
    told = [found is not None and found <= end for found, end in ends if end <= to_ms]
    n = len(told)
    share = sum(told) / n if n else float("nan")
    return Within(days=days, n=n, share=Interval(share, *(wilson(share, n) if n else (float("nan"), float("nan")))))
